#!/bin/sh
# What lbhook does for the env file alone, as a shell script: ask, render, compare, replace.
# It believes whatever it gets, bounds nothing but the time, and forgets a reload that fails.
# Used as: peer.sh ENDPOINT FILE
set -eu

render='
def family($four): map(select(contains(":") != $four)) | join(",");
def bare: ltrimstr("[") | rtrimstr("]");
def rows: map(.frontendIpAddress |= bare | .privateIpAddress |= bare);
def order: sort_by((.frontendIpAddress | contains(":")), .frontendIpAddress, .frontendPort);
def ports($protocol): map(select(.protocol | ascii_downcase == $protocol).backendPort)
    | unique | map(tostring) | join(",");
.loadbalancer
| (.publicIpAddresses | rows | map(.frontendIpAddress) | unique) as $public
| (.inboundRules | rows | order) as $in
| (.outboundRules | rows | map(.frontendIpAddress) | unique) as $out
| ($in | map(.frontendIpAddress) | unique) as $front
| "LB_PUBLIC_IPV4=\($public | family(true))",
  "LB_PUBLIC_IPV6=\($public | family(false))",
  "LB_FRONTEND_IPV4=\($front | family(true))",
  "LB_FRONTEND_IPV6=\($front | family(false))",
  "LB_OUTBOUND_IPV4=\($out | family(true))",
  "LB_OUTBOUND_IPV6=\($out | family(false))",
  "LB_TCP_PORTS=\($in | ports("tcp"))",
  "LB_UDP_PORTS=\($in | ports("udp"))",
  "LB_INBOUND_COUNT=\($in | length)",
  ($in | to_entries[] | "LB_INBOUND_\(.key)=\(.value | [(.protocol | ascii_downcase),
      .frontendIpAddress, .frontendPort, .privateIpAddress, .backendPort] | map(tostring)
      | join(","))")
'
new=$2.new
curl --silent --fail --noproxy '*' --max-time 5 --header 'Metadata: true' \
    "$1/metadata/loadbalancer?api-version=2020-10-01" | jq -r "$render" >"$new"
if cmp -s "$new" "$2"; then
    rm "$new"
else
    sync "$new" && mv "$new" "$2"
fi
