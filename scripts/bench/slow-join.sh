#!/usr/bin/env bash
# What a joiner costs a gang of two over a network: each of three workers has a network namespace of its own, and all are on one switch, to which links of the given
# rate lead. The third worker starts after step 8. Prints, in seconds, the median step before, the longest from its start until the gang of three has made a step,
# and the median of the gang of three. Needs root, iproute2 and tbf.
#
#   scripts/bench/slow-join.sh DATA RATE TRIALS PROGRAM            for example demo-run/data 1gbit 5 bin/ringleader
set -euo pipefail
data=$(realpath "$1") rate=$2 trials=$3 program=$(realpath "$4")
work=$(mktemp -d)
spaces=(rl$$s rl$$a rl$$b rl$$c) # the switch, where the coordinator is, and the workers
cleanup() {
  kill $(jobs -p) 2>/dev/null || true
  wait
  for n in "${spaces[@]}"; do ip netns del $n || true; done
  rm -rf "$work"
}
trap cleanup EXIT
switch=${spaces[0]}
ip netns add $switch
ip -n $switch link add br0 type bridge
ip -n $switch addr add 10.7.0.9/24 dev br0
ip -n $switch link set lo up
ip -n $switch link set br0 up
for i in 1 2 3; do
  n=${spaces[$i]}
  ip netns add $n
  ip link add port netns $n type veth peer name down$i netns $switch
  ip -n $n addr add 10.7.0.$i/24 dev port
  ip -n $n link set lo up
  ip -n $n link set port up
  ip -n $switch link set down$i master br0 up
  ip netns exec $n tc qdisc add dev port root tbf rate "$rate" burst 256kb latency 20ms
  ip netns exec $switch tc qdisc add dev down$i root tbf rate "$rate" burst 256kb latency 20ms
done
(umask 077 && head -c 24 /dev/urandom | base64 >"$work/token")
way="--token-file $work/token --coordinators 10.7.0.9:7600"

cat >"$work/job.yaml" <<EOF
what:
  data: $data
  steps: 24
  shards: 6
  users_per_shard: 3
  model: {preset: small, layers: 4, width: 256, heads: 8, dim: 256, window: 255, init: normal}
how:
  workers: {min: 2, max: 3}
  store: $work/store
EOF

# start runs a worker, and writes down when it completed which step in a gang of which size. The worker runs for as long as the descriptor of its input is open.
start() {
  mkfifo "$work/in$1"
  ip netns exec ${spaces[$1]} "$program" worker $way --bind 10.7.0.$1:7700 --insecure --dir "$work/run/w$1" --cache "$work/cache" --lanes 1 --supervised \
    <"$work/in$1" 2>"$work/w$1.log" | while read -r line; do echo "$EPOCHREALTIME $line"; done >"$work/steps$1" &
  exec {input}>"$work/in$1"
}

trial() {
  rm -f "$work"/in? "$work"/steps?
  ip netns exec $switch "$program" coordinator --data-dir "$work/run/c" --bind 10.7.0.9:7600 --peers 10.7.0.9:7600 --insecure --token-file "$work/token" 2>"$work/c.log" &
  start 1
  start 2
  until ip netns exec $switch "$program" job list $way >/dev/null 2>&1; do sleep .1; done
  ip netns exec $switch "$program" job submit "$work/job.yaml" $way --wait >"$work/job.log" 2>&1 &
  local job=$!
  until grep -q '"step":8,' "$work/steps1" 2>/dev/null; do sleep .02; done
  local began=$EPOCHREALTIME
  start 3
  wait $job
  kill $(jobs -p)
  wait
  python3 - "$work/steps1" "$began" <<'EOF'
import json, statistics, sys
steps = [(float(t), e) for t, e in ((line.split(' ', 1)[0], json.loads(line.split(' ', 1)[1])) for line in open(sys.argv[1])) if e['event'] == 'step']
began, between = float(sys.argv[2]), [(b[0], b[0] - a[0], b[1]['size']) for a, b in zip(steps, steps[1:])]
grown = next(at for at, _, size in between if size == 3)
print('before %.3f, longest while it joins %.3f, then %.3f' % (statistics.median(s for at, s, _ in between if at < began), max(s for at, s, _ in between if began < at <= grown),
    statistics.median(s for at, s, _ in between if at > grown)))
EOF
  rm -rf "$work/run" "$work/store"
}

for ((i = 0; i < trials; i++)); do trial; done
