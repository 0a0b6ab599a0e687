--- The half of a witnessed command that runs on its host, for any POSIX shell; witness.lua says what it is for.
---
--- FOLDER/ID is the witness: who makes it (plain mkdir) has it. Inside it `job` is a link that names whom it belongs
--- to, `closed` or PID.START.BOOT of the job: a link is made with its text in one act, so that a settler who finds the
--- folder made and no link in it can still close it under a job that was stopped between the two.
--- Then `out`, `err`, and `status`, which is put there whole by a rename.
---
---     prepare UID NONCE                   makes the folder of the run, in $NEAP_HOME or the home: `= ready`, login,
--- folder
---     start FOLDER ID COMMAND             the job, with `BASE64.` of its input on stdin, followed to its end
---     follow FOLDER ID OUT ERR            both outputs from these bytes on to the job's end
---     take FOLDER ID LOGIN                makes sure that the job has ended or cannot begin any more, or says
--- `running`
---     end FOLDER ID USER                  ends the job: TERM, after 5 seconds KILL; as USER through sudo unless empty
---     remove FOLDER                       what prepare made: the folder of that UID
---
--- They answer with `neap` and then with lines: `out N` and `err N` with N bytes behind them, `gap out N` for bytes
--- left out, `beat` now and then, and last `= VERDICT`: done STATUS, void, running, partial reboot, partial killed,
--- none (not taken by anybody), missing (the folder of the run is not there), login NAME (another one than asked for).
return [==[
script=$1 verb=$2 folder=$3 d=$3/$4
mask=$(umask); umask 077
read -r boot </proc/sys/kernel/random/boot_id

# State and start time of a process; its name may hold anything but a line end.
stat_of() {
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- ${line##*) }
  state=$1 start=${20}
}

# What lives of the job's session, and what that started elsewhere: sudo may give its command a session of its own.
members() {
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v session="$1" '
    { p = $1; sub(/^.*\) /, ""); if ($1 != "Z") { parent[p] = $2; if ($4 == session) found[p] = 1 } }
    END {
      do { more = 0; for (p in parent) if (!(p in found) && parent[p] in found) more = found[p] = 1 } while (more)
      for (p in found) print p
    }'
}

# Of PID with that START; a number that was given to somebody else since is not the job.
alive() {
  if stat_of "$1"; then
    [ "$start" = "$2" ] || return 1
    case $state in Z|X) ;; *) return 0;; esac
  fi
  [ -n "$(members "$1")" ]
}

verdict() {
  job=$(readlink "$d/job") || { if [ -d "$folder" ]; then echo "= none"; else echo "= missing"; fi; return; }
  pid=${job%%.*} born=${job#*.}; then=${born#*.} born=${born%%.*}
  if [ "$job" = closed ]; then echo "= void"
  elif [ -s "$d/status" ]; then read -r ended <"$d/status"; echo "= done $ended"
  elif [ "$then" != "$boot" ]; then echo "= partial reboot"
  elif alive "$pid" "$born"; then echo "= running"
  elif [ -s "$d/status" ]; then read -r ended <"$d/status"; echo "= done $ended"
  else echo "= partial killed"
  fi
}

size() { if [ -s "$d/$1" ]; then wc -c <"$d/$1"; else echo 0; fi; }

# N bytes of a file from one on.
part() { echo "$1 $3"; tail -c "+$(($2 + 1))" "$d/$1" | head -c "$3"; }

# What it has beyond the given byte, a mebibyte at a time.
more() {
  got=0
  [ -s "$d/$1" ] || return 0
  got=$(($(size "$1") - $2))
  [ "$got" -le 1048576 ] || got=1048576
  if [ "$got" -gt 0 ]; then part "$1" "$2" "$got"; else got=0; fi
}

follow() {
  quiet=0 a=$1 b=$2
  while :; do
    now=$(verdict)
    more out "$a"; a=$((a + got)) any=$got
    more err "$b"; b=$((b + got)) any=$((any + got))
    if [ "$any" -gt 0 ]; then quiet=0; continue; fi
    [ "$now" = "= running" ] || { echo "$now"; return; }
    quiet=$((quiet + 1))
    [ $((quiet % 60)) != 0 ] || echo beat
    pause "$quiet"
  done
}

# Short at first, for most commands are over at once.
pause() {
  if [ "$1" -lt 5 ]; then sleep .005; elif [ "$1" -lt 14 ]; then sleep .02; else sleep .25; fi 2>/dev/null || sleep 1
}

# Of a file that does not grow any more: 64 KiB of its beginning, 1 MiB of its end.
ends() {
  n=$(size "$1")
  if [ "$n" -gt 1114112 ]; then
    part "$1" 0 65536; echo "gap $1 $((n - 1114112))"; part "$1" $((n - 1048576)) 1048576
  elif [ "$n" -gt 0 ]; then part "$1" 0 "$n"
  fi
}

job() { # command, umask
  input=$(cat)
  case $input in *.) input=${input%.};; *) exit;; esac
  trap : HUP INT TERM
  mkdir "$d" || exit
  # room for the status is taken now: on a full disk a command would end without one
  printf '\n\n\n\n' >"$d/status.new" || { echo "no room in $d" >&2; exit; }
  exec </dev/null >"$d/out" 2>"$d/err" || exit
  stat_of $$ && ln -s "$$.$start.$boot" "$d/job" || exit
  sync "$folder" "$d" 2>/dev/null
  if [ "$input" ]; then
    printf %s "$input" | base64 -d | (umask "$2"; exec sh -c "$1")
  else
    (umask "$2"; exec sh -c "$1")
  fi
  echo $? 1<>"$d/status.new" && mv "$d/status.new" "$d/status"
}

start() { # id, command
  exec 3<&0 </dev/null
  setsid sh -c 'eval "$1"' neap "$script" job "$folder" "$1" "$2" "$mask" <&3 3<&- &
  exec 3<&-
  quiet=0
  until [ -L "$d/job" ]; do
    stat_of $! || break
    case $state in Z|X) break;; esac
    quiet=$((quiet + 1)); pause "$quiet"
  done
  follow 0 0
}

take() { # login
  me=$(id -un)
  [ "$me" = "$1" ] || { echo "= login $me"; return; }
  mkdir "$d" 2>/dev/null
  ln -s closed "$d/job" 2>/dev/null
  now=$(verdict)
  case $now in "= done"*|"= partial"*) ends out; ends err;; esac
  echo "$now"
}

tell() { # signal, user
  set -- "$1" "$2" $(members "$pid")
  [ $# -gt 2 ] || return 1
  signal=$1 user=$2; shift 2
  kill -s "$signal" "$@" 2>/dev/null
  [ -z "$user" ] || sudo -n -u "$user" -- kill -s "$signal" "$@" 2>/dev/null
  return 0
}

end() { # user
  now=$(verdict)
  [ "$now" = "= running" ] || { echo "$now"; return; }
  pid=$(readlink "$d/job"); pid=${pid%%.*}
  tell TERM "$1"
  n=0
  while [ $n -lt 20 ] && [ "$(members "$pid")" ]; do sleep .25 2>/dev/null || sleep 1; n=$((n + 1)); done
  # again while there is something left: a shell whose child dies first may have begun its next command
  n=0
  while [ $n -lt 20 ] && tell KILL "$1"; do n=$((n + 1)); sleep .1 2>/dev/null || sleep 1; done
  verdict
}

prepare() { # uid, nonce
  cd ${NEAP_HOME:+"$NEAP_HOME"} && mkdir -p ".neap/effects/$1" && mkdir ".neap/effects/$1/$2" || return
  printf '= ready\n%s\n%s\n' "$(id -un)" "$(pwd -P)/.neap/effects/$1/$2"
}

# Renamed first: while rm empties the folder, a late call would find the folder there and its own name not taken.
remove() { # folder
  if [ -d "$1" ]; then mv -- "$1" "$1.closed" && rm -rf -- "$1.closed" || return; fi
  echo "= removed"
}

[ "$verb" = job ] || echo neap
case $verb in
prepare) prepare "$3" "$4";;
start) start "$4" "$5";;
job) job "$5" "$6";;
follow) follow "$5" "$6";;
take) take "$5";;
end) end "$5";;
remove) remove "$3";;
esac
]==]
