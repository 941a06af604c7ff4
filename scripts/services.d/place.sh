# shellcheck shell=bash
# Where things live, and as whom they run.
#
# ROOT is the checkout, STATE (.services) holds what is remembered: pids, ports, choices. PLACE holds the data, and is
# STATE unless the servers' user cannot reach it. Kafka and PostgreSQL never run as root: PostgreSQL refuses to, and a
# broker that answers to anybody on this machine should own nothing but its log.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
STATE=$ROOT/.services

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
fail() {
  warn "citytide: $*"
  exit 1
}

# missing WHAT PACKAGE: what is not there, with the command that gets it.
missing() {
  local what=$1 packages=$2 get
  if command -v apt-get >/dev/null; then
    get="apt-get install -y $packages"
    [[ $(id -u) == 0 ]] || get="sudo $get"
  elif command -v brew >/dev/null; then
    get="brew install $packages"
  else
    get="install $packages with the package manager of this machine"
  fi
  fail "$what is missing; get it with: $get (or all at once: make install)"
}

remember() { printf '%s\n' "$2" >"$STATE/$1"; }
recall() { [[ -s $STATE/$1 ]] && cat "$STATE/$1"; }

# A checkout that was copied as a whole brings the other one's state, whose servers and data are not its own: forgotten.
# One that was moved keeps it.
forget_copied_state() {
  local origin
  origin=$(recall root) && [[ $origin != "$ROOT" ]] || return 0
  if [[ -d $origin/.services && ! $origin/.services -ef $STATE ]]; then
    warn ".services was copied from $origin and belongs to it: starting anew here"
    rm -rf -- "$STATE"
  else
    remember root "$ROOT"
  fi
}
forget_copied_state

# The user that the servers run as: empty for "whoever calls".
server_user() {
  [[ $(id -u) == 0 ]] || return 0
  local user
  for user in postgres nobody; do
    if id "$user" >/dev/null 2>&1; then
      say "$user"
      return
    fi
  done
  fail "running as root, and there is neither a user postgres nor nobody to run the servers as"
}

# Sets AS: the words before a command that make it the servers' user's.
as_server() {
  AS=()
  local user
  user=$(server_user)
  [[ -n $user ]] || return 0
  command -v setpriv >/dev/null || missing setpriv util-linux
  AS=(setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups -- env HOME=/tmp "USER=$user")
}

reachable() { (cd "$1" && ${AS[@]+"${AS[@]}"} test -x "$1" -a -r "$1") 2>/dev/null; }

# Finds PLACE, and makes it where it is not there yet.
open_place() {
  mkdir -p "$STATE"
  remember root "$ROOT"
  as_server
  if PLACE=$(recall place) && [[ -d $PLACE ]]; then
    return
  fi
  PLACE=$STATE
  if ! reachable "$STATE"; then
    PLACE=${TMPDIR:-/tmp}/citytide-$(path_key)
    mkdir -p "$PLACE"
    reachable "$PLACE" || fail "neither $STATE nor $PLACE can be reached by the user $(server_user), who runs the servers"
  fi
  remember place "$PLACE"
}

# give PATH: hands PATH to the servers' user.
give() {
  local user
  user=$(server_user)
  [[ -z $user ]] || chown -R "$user:$(id -g "$user")" "$1"
}

# A short name for this checkout, equal on every call, different for every path.
path_key() { printf '%s' "$ROOT" | cksum | cut -d' ' -f1; }

# free_port NAME: the port of that name: the remembered one while nobody else listens there, else a new one below the
# range that the kernel hands out by itself.
free_port() {
  local port
  port=$(recall "$1.port") || port=
  local tries=0
  until [[ -n $port ]] && ! listening "$port"; do
    tries=$((tries + 1))
    ((tries <= 200)) || fail "found no free port for $1 between 20000 and 32000"
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
  done
  remember "$1.port" "$port"
  say "$port"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
