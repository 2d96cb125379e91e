"""Copies a chassis' configuration from Chassis.other_config to external_ids.

OVN 22.12 and later write it to the former only, Neutron 21 (Zed) reads the
latter. Without the copy no gateway is ever scheduled and port binding does
not know a chassis' bridge mappings. ovn-controller leaves the copies alone.
"""
import sys

import ovs.db.idl
import ovs.poller

KEYS = ("ovn-bridge-mappings", "ovn-cms-options", "datapath-type", "iface-types")


def mirror(idl):
    """Copies what differs; returns the number of keys written."""
    txn = ovs.db.idl.Transaction(idl)
    written = 0
    for row in idl.tables["Chassis"].rows.values():
        for key in KEYS:
            value = row.other_config.get(key)
            if value and row.external_ids.get(key) != value:
                row.setkey("external_ids", key, value)
                written += 1
    if not written:
        txn.abort()
        return 0
    print(written, "keys", txn.commit_block(), flush=True)
    return written


def main(remote, schema):
    helper = ovs.db.idl.SchemaHelper(location=schema)
    helper.register_columns("Chassis", ["name", "other_config", "external_ids"])
    idl = ovs.db.idl.Idl(remote, helper)
    seen = -1
    while True:
        idl.run()
        if idl.change_seqno != seen:
            seen = idl.change_seqno
            mirror(idl)
        poller = ovs.poller.Poller()
        idl.wait(poller)
        poller.block()


main(*sys.argv[1:])
