# shellcheck shell=bash
# Kafka and PostgreSQL as containers, for a machine with a Docker daemon.

# A docker client without a daemon is common, and may wait for ever.
docker_answers() {
  command -v docker >/dev/null && timeout 5 docker info >/dev/null 2>&1 && timeout 5 docker compose version >/dev/null 2>&1
}

compose() {
  CITYTIDE_KAFKA_PORT=$(recall kafka.port || say 9092) CITYTIDE_POSTGRES_PORT=$(recall postgres.port || say 5432) \
    docker compose -f "$ROOT/docker-compose.yml" -p "citytide-$(path_key)" "$@"
}

compose_alive() { [[ -n $(compose ps -q --status running "$1" 2>/dev/null) ]]; }

compose_up() {
  local service=$1 port
  if ! compose_alive "$service"; then
    free_port "$service" >/dev/null
    if ! compose up -d --wait --wait-timeout 240 "$service" </dev/null >"$STATE/$service.log" 2>&1 9>&-; then
      compose logs --tail 20 "$service" >>"$STATE/$service.log" 2>&1 || true
      show_tail "$STATE/$service.log"
      fail "docker compose could not start $service; CITYTIDE_SERVICES=local takes servers of this machine instead"
    fi
  fi
  port=$(recall "$service.port")
  case $service in
    kafka) remember kafka.address "127.0.0.1:$port" ;;
    postgres) remember postgres.address "postgres://postgres@127.0.0.1:$port/citytide" ;;
  esac
}

compose_down() { compose stop -t 30 "$1" >/dev/null 2>&1 || fail "docker compose could not stop $1"; }
