#!/bin/sh
# HAProxy 2.6.12 (Debian 12): a named `defaults` section that one proxy names by `from`, and another one
# takes because it stands last, is an ALERT, twice the worst word that HAProxy has. Nevertheless the
# check goes on, says "Configuration file is valid", and ends with 0; HAProxy starts and serves.
# Seen with 3.0.11 and 3.2.26: the same text as a WARNING, and the same status.
# So neither the level of a line nor the last line alone tells what the check came to: the status does,
# and lines about one's own file are worth showing whatever they are called (lbhook does).
set -eu
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
cd "$place"
apt-get download -qq haproxy=2.6.12-1+deb12u4 liblua5.3-0 >/dev/null
for deb in *.deb; do dpkg -x "$deb" tree; done
cat >haproxy.cfg <<'CFG'
defaults web
    mode http
    timeout client 1s
    timeout connect 1s
    timeout server 1s
frontend named from web
    bind 127.0.0.1:18080
    default_backend servers
frontend unnamed
    bind 127.0.0.1:18081
    default_backend servers
backend servers from web
    server one 127.0.0.1:1
CFG
status=0
LD_LIBRARY_PATH=$(dirname "$(find tree -name 'liblua5.3.so.0')") \
    tree/usr/sbin/haproxy -c -f haproxy.cfg >said 2>&1 || status=$?
cat said
echo "status $status"
[ "$status" = 0 ]
[ "$(grep -c '^\[ALERT\].*explicitly referenced by another proxy and implicitly used here' said)" = 2 ]
tail -n 1 said | grep -qx 'Configuration file is valid'
echo "as it was: alerts, valid, 0"
