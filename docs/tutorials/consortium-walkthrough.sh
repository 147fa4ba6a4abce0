#!/bin/sh
# Five members and a coordinator, from the first key to a trained model, over TLS on this machine.
#
# Usage: sh docs/tutorials/consortium-walkthrough.sh CONFIG.toml DIR
#
# DIR is made. In it, each party has a folder of its own, as it would have a machine of its own.
# The end of DIR/hub/run is what the run was for: model.safetensors and result.json.
set -eu
config=$(realpath "$1")
mkdir "$2"
cd "$2"
members=${MEMBERS:-retailer-a retailer-b retailer-c retailer-d retailer-e}
port=${PORT:-42222}
umask 077

# Every party makes a key on its own machine; the card goes to the member that writes the agreement.
for party in $members hub; do
    mkdir -p "$party"
    printf 'a passphrase of %s\n' "$party" > "$party/passphrase"
    securefl keygen "$party" --out "$party" --passphrase-file "$party/passphrase"
done

# The one who runs the broker makes its certificate, and the authority that members will trust.
mkdir broker
printf 'a passphrase of the authority\n' > broker/passphrase
securefl agreement ca broker/tls --host 127.0.0.1 --passphrase-file broker/passphrase

# One party writes the agreement. Everybody reads it, compares fingerprints by phone, and signs.
mkdir agreed
cards=
for party in $members; do
    cards="$cards --card $party/$party.card"
done
# shellcheck disable=SC2086
securefl agreement new agreed/agreement.toml --name grocers --config "$config" $cards \
    --coordinator hub/hub.card --broker "tls://127.0.0.1:$port" --ca broker/tls/ca.pem
for party in $members; do
    securefl agreement sign agreed/agreement.toml --key "$party/$party.key" \
        --passphrase-file "$party/passphrase"
done
securefl agreement verify agreed/agreement.toml

# What all train on the same of: products and calendar.
securefl facts "$config" --out agreed/facts

# The broker's configuration: each party by its own key, confined to its own subjects.
securefl agreement broker-config agreed/agreement.toml --tls broker/tls --out broker

# The members dial out and wait; the coordinator here also starts the broker. All share one machine,
# so it waits long for a party that has not had a turn yet.
pids=
trap 'kill $pids 2> kill.log || true' EXIT
for party in $members; do
    securefl member agreed/agreement.toml --key "$party/$party.key" --facts agreed/facts \
        --passphrase-file "$party/passphrase" --state "$party/state" --book "$party/book" \
        2> "$party/log" &
    pids="$pids $!"
done
securefl coordinator agreed/agreement.toml --key hub/hub.key --facts agreed/facts \
    --passphrase-file hub/passphrase --out hub/run --embedded broker --quiet \
    --silence 900 --stragglers 900 2> hub/log
# shellcheck disable=SC2086
wait $pids
