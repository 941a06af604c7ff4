# shellcheck shell=bash
# Which Kafka and which PostgreSQL: the environment's, else containers where a daemon answers, else this machine's.

# given SERVICE: the address that the environment names.
given() {
  case $1 in
    kafka) [[ -n ${KAFKA_BROKERS:-} ]] && say "$KAFKA_BROKERS" ;;
    postgres) [[ -n ${DATABASE_URL:-} ]] && say "$DATABASE_URL" ;;
  esac
}

# choose SERVICE: local or compose; remembered, because the data is where the first choice put it.
choose() {
  local kind=${CITYTIDE_SERVICES:-}
  if [[ -z $kind ]]; then
    kind=$(recall "$1.kind") || kind=
    if [[ $kind != local ]]; then
      local before=$kind
      if docker_answers; then kind=compose; else kind=local; fi
      [[ -z $before || $before == "$kind" ]] || warn "the Docker daemon is away: a $1 of this machine takes over, with data of its own"
    fi
  fi
  case $kind in
    local | compose) remember "$1.kind" "$kind" ;;
    *) fail "CITYTIDE_SERVICES is '$kind': it may be local or compose" ;;
  esac
  say "$kind"
}

running() {
  case $(recall "$1.kind") in
    local) alive "$1" >/dev/null ;;
    compose) docker_answers && compose_alive "$1" ;;
    *) false ;;
  esac
}

# masked ADDRESS: without its password, which is nobody's business on a screen or in a log.
masked() {
  if [[ $1 =~ ^([a-z]+://[^:/@]*):[^@]*(@.*)$ ]]; then
    say "${BASH_REMATCH[1]}:…${BASH_REMATCH[2]}"
  else
    say "$1"
  fi
}

# Sets and exports KAFKA_BROKERS and DATABASE_URL to those of this checkout.
use_services() {
  local assignments
  assignments=$("$ROOT/scripts/services" env)
  eval "$assignments"
  export KAFKA_BROKERS DATABASE_URL
}
