#!/usr/bin/env bash
# What a network costs a gang of two: trains the same job with both members in network namespaces of their own, joined by a link of the given rate, with one
# program after the other, in turns. Prints users/s and the state's name, which must be the same everywhere. Needs root, iproute2 and tbf.
#
#   scripts/bench/slow-network.sh DATA RATE ROUNDS PROGRAM...      for example demo-run/data 1gbit 3 bin/ringleader other/ringleader
set -euo pipefail
data=$(realpath "$1") rate=$2 rounds=$3
shift 3
work=$(mktemp -d)
a=rl$$a b=rl$$b
cleanup() {
  kill $(jobs -p) 2>/dev/null || true
  wait
  ip netns del $a || true
  ip netns del $b || true
  rm -rf "$work"
}
trap cleanup EXIT
ip netns add $a
ip netns add $b
ip link add v$a netns $a type veth peer name v$b netns $b
ip -n $a addr add 10.7.0.1/24 dev v$a
ip -n $b addr add 10.7.0.2/24 dev v$b
for n in $a $b; do
  ip -n $n link set lo up
  ip -n $n link set v$n up
  ip netns exec $n tc qdisc add dev v$n root tbf rate "$rate" burst 256kb latency 20ms
done
(umask 077 && head -c 24 /dev/urandom | base64 >"$work/token")

cat >"$work/job.yaml" <<EOF
what:
  data: $data
  steps: 24
  shards: 2
  users_per_shard: 8
  model: {preset: small, layers: 4, width: 256, heads: 8, dim: 256, window: 255, init: normal}
how:
  workers: {min: 2, max: 2}
  store: $work/store
EOF

train() {
  local program=$1 way="--token-file $work/token --coordinators 10.7.0.1:7600" i
  ip netns exec $a "$program" coordinator --data-dir "$work/run/c" --bind 10.7.0.1:7600 --peers 10.7.0.1:7600 --insecure --token-file "$work/token" 2>"$work/c.log" &
  for i in 1 2; do
    local n=$a; [ $i = 1 ] || n=$b
    ip netns exec $n "$program" worker $way --bind 10.7.0.$i:7700 --insecure --dir "$work/run/w$i" --cache "$work/cache" --lanes 1 2>"$work/w$i.log" &
  done
  until ip netns exec $a "$program" job list $way >/dev/null 2>&1; do sleep .1; done
  ip netns exec $a "$program" job submit "$work/job.yaml" $way --wait >"$work/job.log" 2>&1
  kill $(jobs -p)
  wait
  echo "$program: $(grep -oE '[0-9.]+ users/s' "$work/job.log" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}') users/s, $(ls "$work/store")"
  rm -rf "$work/run" "$work/store"
}

for ((round = 0; round < rounds; round++)); do
  for program in "$@"; do train "$program"; done
done
