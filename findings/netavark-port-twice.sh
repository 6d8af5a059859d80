#!/bin/sh
# netavark 1.14.0 (Debian 13), with nftables: asked to publish a port that another container has already,
# it does so and ends with 0. Both translations are in one chain, that of the first container before that
# of the second. When the first container goes, only its own rule goes, and the port is the second's from
# then on, without anything being done for that.
# Podman does not come so far: its conmon has a socket at each published port. What runs netavark by itself
# has to look.
# Needs root, for networks of its own, and iproute2.
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"

# apt with lists of its own: what this machine installs stays what it was.
apart() {
    command=$1
    shift
    "$command" -o Dir::Etc::SourceList="$PWD/sources" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" \
        -o Dir::State::Status=/dev/null "$@"
}
mkdir -p lists/partial cache/archives/partial
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian$' | head -n 1)
echo "deb $mirror trixie main" >sources
apart apt-get update -qq
names=$(apart apt-cache depends --recurse --important nftables | grep '^[a-z]' | sort -u)
# shellcheck disable=SC2086
apart apt-get download -qq $names nftables=1.1.3-1 netavark=1.14.0-2 >/dev/null
for deb in ./*.deb; do dpkg -x "$deb" tree; done

# Their own loader, for their own C library.
for name in sbin/nft lib/podman/netavark; do
    cat >"${name##*/}" <<SH
#!/bin/sh
for libraries in "$PWD"/tree/usr/lib/*-linux-*; do :; done
exec "\$libraries"/ld-linux*.so.* --library-path "\$libraries" "$PWD/tree/usr/$name" "\$@"
SH
    chmod 755 "${name##*/}"
done
container() {
    cat <<JSON
{"container_id": "$1", "container_name": "$1",
 "networks": {"net": {"interface_name": "eth0", "static_ips": ["10.88.0.$2"]}},
 "network_info": {"net": {"name": "net", "id": "net", "driver": "bridge", "network_interface": "net0",
  "internal": false, "ipv6_enabled": false, "dns_enabled": false,
  "ipam_options": {"driver": "host-local"},
  "subnets": [{"subnet": "10.88.0.0/24", "gateway": "10.88.0.1"}]}},
 "port_mappings": [{"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp", "range": 1}]}
JSON
}
container one 2 >one.json
container two 3 >two.json
cat >try <<'SH'
mount -t tmpfs run /run
mkdir /run/netns
PATH=$PWD:$PATH
export NETAVARK_FW=nftables
show() {
    nft list table inet netavark | sed -n '/dnat ip to/s/^\t*/  /p'
}
for name in one two; do
    ip netns add "$name"
    netavark --config "$PWD" --file $name.json setup /run/netns/$name >answer
    echo "$name is there: $?"
    show
done
netavark --config "$PWD" --file one.json teardown /run/netns/one
echo "one has gone: $?"
show
SH
unshare --net --mount sh -eu try | tee said
[ "$(cat said)" = 'one is there: 0
  tcp dport 8080 dnat ip to 10.88.0.2:80
two is there: 0
  tcp dport 8080 dnat ip to 10.88.0.2:80
  tcp dport 8080 dnat ip to 10.88.0.3:80
one has gone: 0
  tcp dport 8080 dnat ip to 10.88.0.3:80' ]
echo "as it was: a port twice, and nobody says so"
