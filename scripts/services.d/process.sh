# shellcheck shell=bash
# Processes that we start, and end: exactly those.
#
# A pid file holds the pid and the process's identity (its start time in this boot). A pid that has been given to another
# process since has another identity, and is left alone.

# identity PID: fails when there is no such process, or only its zombie.
identity() {
  local stat fields
  if [[ -d /proc/self ]]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != Z && ${fields[0]} != X ]] || return 1
    say "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null):${fields[19]}"
  else
    stat=$(ps -o lstart= -p "$1") && [[ -n $stat ]] && say "$stat"
  fi
}

# alive NAME: says the pid when the process that we started under this name still runs.
alive() {
  local pid before now
  [[ -s $STATE/$1.pid ]] || return 1
  { read -r pid && read -r before; } <"$STATE/$1.pid" || return 1
  now=$(identity "$pid") && [[ $now == "$before" ]] && say "$pid"
}

record() { printf '%s\n%s\n' "$2" "$(identity "$2")" >"$STATE/$1.pid"; }

# start_detached NAME LOG CMD…: in a session of its own, so that neither Ctrl-C nor the end of this terminal reaches it;
# the log of the time before is kept as LOG.before.
start_detached() {
  local name=$1 log=$2 detach=()
  shift 2
  [[ ! -s $log ]] || mv -f "$log" "$log.before"
  command -v setsid >/dev/null && detach=(setsid)
  # Descriptor 9 is the lock of `scripts/services`, 3 and 4 may be make's: none of them is the server's.
  ${detach[@]+"${detach[@]}"} "$@" </dev/null >"$log" 2>&1 3>&- 4>&- 9>&- &
  record "$name" "$!"
}

# stop NAME SECONDS SIGNAL…: the first signal, SECONDS to obey, then the next one.
stop() {
  local name=$1 seconds=$2 signal pid tick
  shift 2
  for signal in "$@"; do
    pid=$(alive "$name") || break
    kill -s "$signal" "$pid" 2>/dev/null || true
    for ((tick = 0; tick < seconds * 10; tick++)); do
      alive "$name" >/dev/null || break 2
      sleep 0.1
    done
    warn "$name (pid $pid) did not end within $seconds s of SIG$signal"
  done
  if pid=$(alive "$name"); then
    fail "$name (pid $pid) could not be ended"
  fi
  rm -f "$STATE/$name.pid"
}

# wait_until NAME SECONDS LOG CMD…: until CMD succeeds; ends with the tail of LOG when NAME dies or the time is over.
wait_until() {
  local name=$1 seconds=$2 log=$3 tick
  shift 3
  for ((tick = 0; tick < seconds * 5; tick++)); do
    if "$@"; then
      return
    fi
    if ! alive "$name" >/dev/null; then
      show_tail "$log"
      fail "$name ended while it started; its log is $log"
    fi
    sleep 0.2
  done
  show_tail "$log"
  fail "$name was not ready after $seconds s; its log is $log"
}

show_tail() {
  warn "--- the last lines of $1"
  tail -n 20 "$1" >&2 || true
  warn "---"
}
