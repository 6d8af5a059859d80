# What the tests share.

port=8169
body=$AUTOPKGTEST_TMP/body.json
imds=

# The load balancer sends these ports to 10.1.0.4.
answer() {
    rules=
    for one in "$@"; do
        rules="$rules${rules:+, }{\"frontendIpAddress\": \"50.0.0.1\", \"protocol\": \"tcp\",
            \"frontendPort\": $one, \"backendPort\": $one, \"privateIpAddress\": \"10.1.0.4\"}"
    done
    printf '{"loadbalancer": {"publicIpAddresses": [], "inboundRules": [%s], "outboundRules": []}}' \
        "$rules" >"$body.new"
    mv "$body.new" "$body"
}

serve_metadata() {
    "$(dirname "$0")/imds" $port "$body" &
    imds=$!
    wait_for "curl -fs -H Metadata:true http://127.0.0.1:$port/metadata/loadbalancer"
}

stop_metadata() {
    kill $imds
    wait $imds || true
    imds=
}

wait_for() {
    for _ in $(seq 100); do
        ! eval "$1" >/dev/null || return 0
        sleep 0.1
    done
    echo "not in 10 seconds: $1" >&2
    return 1
}

fails() {
    expected=$1
    shift
    status=0
    "$@" || status=$?
    [ $status -eq "$expected" ] || { echo "status $status, not $expected: $*" >&2; return 1; }
}
