#!/usr/bin/env bash
# Put the clients of tests/clients/acme and the servers of examples/ in place. What is there stays as it is, so a second
# run does nothing; `rm -r .clients` and a third one bring the newest versions.
#
#     tests/clients/install.sh              everything
#     tests/clients/install.sh debian go    only these parts: debian, certbot, node, lego
#
# Debian packages need root or sudo without a question. The rest stays in .clients/ of this project:
#     .clients/certbot/    a virtual environment: certbot pins an older cryptography than certgate needs
#     .clients/node/       acme-client from npm, where there is node
#     .clients/go/bin/     lego, built where there is go
# A part that fails is named at the end. With CI=true that is an error for Debian and the Python index, because a client
# that is silently left out would go unnoticed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-python3}
clients=$PWD/.clients
failed=()

# program:package. apache2-bin has the program and all its modules without the service that package apache2 starts.
debian_programs=(
    dehydrated:dehydrated uacme:uacme acmetool:acmetool acme-tiny:acme-tiny caddy:caddy apache2:apache2-bin
    ruby:ruby nginx:nginx haproxy:haproxy socat:socat openssl:openssl curl:curl pebble-challtestsrv:pebble
)

have() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" > /dev/null 2>&1; }
have_ruby_client() { ruby -e 'require "acme-client"' > /dev/null 2>&1; }

# On a machine that boots, installing nginx, HAProxy or Caddy starts it on port 80. policy-rc.d is Debian's way to say
# no (/usr/share/doc/init-system-helpers/README.policy-rc.d.gz); one that is there already is the operator's.
apt_install() {
    local policy=/usr/sbin/policy-rc.d ours=no status
    if [ ! -e $policy ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy > /dev/null && "${root[@]}" chmod 755 $policy
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" > /dev/null
    status=$?
    [ $ours = yes ] && "${root[@]}" rm -f $policy
    return $status
}

debian() {
    local entry wanted=()
    for entry in "${debian_programs[@]}"; do
        have "${entry%%:*}" || wanted+=("${entry#*:}")
    done
    have_ruby_client || wanted+=(ruby-acme-client)
    [ ${#wanted[@]} = 0 ] && return 0
    if [ "$(id -u)" = 0 ]; then
        root=()
    elif have sudo && sudo -n true 2> /dev/null; then
        root=(sudo -n)
    else
        echo "Real clients are missing, and this user may not install Debian packages. As root:"
        echo "    apt-get install --no-install-recommends ${wanted[*]}"
        return 1
    fi
    have apt-get || return 1
    echo "Installing Debian packages: ${wanted[*]}"
    "${root[@]}" apt-get -q -o DPkg::Lock::Timeout=120 update > /dev/null
    apt_install "${wanted[@]}" && return 0
    # A release may not know one of them: then the others all the same.
    local package status=0
    for package in "${wanted[@]}"; do
        apt_install "$package" || { echo "Debian package $package could not be installed"; status=1; }
    done
    return $status
}

certbot() {
    [ -x "$clients/certbot/bin/certbot" ] && return 0
    echo "Installing certbot from the Python index into .clients/certbot"
    rm -rf "$clients/certbot"
    "$python" -m venv "$clients/certbot" &&
        "$clients/certbot/bin/python" -m pip --quiet --disable-pip-version-check install certbot
}

node() {
    local module="$clients/node/node_modules/acme-client"
    have node && node_loads "$module" && return 0
    if ! have node || ! have npm; then
        echo "npm's acme-client is left out: there is no node with npm here (Debian: apt-get install nodejs npm)"
        return 0
    fi
    echo "Installing acme-client from npm into .clients/node"
    rm -rf "$clients/node"
    mkdir -p "$clients/node"
    # No scripts of packages: nothing here needs one.
    npm install --prefix "$clients/node" --cache "$clients/node/.cache" \
        --silent --no-fund --no-audit --ignore-scripts acme-client
    # npm has been seen to end well with files of a dependency missing: what does not load counts as not there.
    node_loads "$module" || { rm -rf "$clients/node"; return 1; }
}

node_loads() {
    [ -d "$1" ] && command node -e 'require(process.argv[1])' "$1" > /dev/null 2>&1
}

lego() {
    [ -x "$clients/go/bin/lego" ] && return 0
    if ! have go; then
        echo "The current lego is left out: there is no go here to build it with"
        return 0
    fi
    echo "Building the current lego into .clients/go"
    # lego's own build tags: of its two hundred DNS providers the one that calls a script. Seconds instead of minutes.
    GOPATH="$clients/go" GOCACHE="$clients/go/cache" GOFLAGS=-modcacherw GOTOOLCHAIN=auto CGO_ENABLED=0 \
        go install -tags lego_dnslight,lego_dns_exec github.com/go-acme/lego/v5@latest 2>&1 |
        { grep -v '^go: downloading' >&2 || true; }
    local status=$?
    rm -rf "$clients/go/cache" "$clients/go/pkg"
    return $status
}

mkdir -p "$clients"
[ $# = 0 ] && set -- debian certbot node lego
for part in "$@"; do
    case $part in
        debian | certbot | node | lego) "$part" || failed+=("$part") ;;
        *)
            echo "usage: $0 [debian] [certbot] [node] [lego]" >&2
            exit 2
            ;;
    esac
done

if [ ${#failed[@]} != 0 ]; then
    echo "Could not be installed: ${failed[*]}. The tests that need it are skipped, or fail with CI=true." >&2
    if [ "${CI:-}" = true ]; then
        case " ${failed[*]} " in *" debian "* | *" certbot "*) exit 1 ;; esac
    fi
fi
exit 0
