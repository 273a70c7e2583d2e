"""A second opinion on routerostest: what Debian's librouteros makes of it.

Usage: second_opinion.py HOST PORT plain|token USER PASSWORD
"""

import sys

import librouteros
from librouteros.exceptions import TrapError
from librouteros.login import plain, token
from librouteros.query import Key


def refused(call, text):
    """Check that the router refuses a call with a message that has the text in it."""
    try:
        call()
    except TrapError as error:
        assert text in str(error), f"want {text!r}, got {error!s}"
    else:
        raise AssertionError(f"not refused, want {text!r}")


def main(host, port, method, user, password):
    def connect(secret):
        return librouteros.connect(
            host=host,
            port=int(port),
            username=user,
            password=secret,
            login_method={"plain": plain, "token": token}[method],
            timeout=20,
        )

    refused(
        lambda: connect("wrong"),
        "cannot log in" if method == "token" else "invalid user name or password (6)",
    )
    api = connect(password)

    assert [row["name"] for row in api("/system/identity/print")] == ["MikroTik"]
    nat = api.path("ip", "firewall", "nat")
    rows = len(tuple(nat))
    new = nat.add(
        **{
            "chain": "dstnat",
            "action": "dst-nat",
            "protocol": "tcp",
            "dst-port": "4500",
            "in-interface": "wg1",
            "to-addresses": "192.168.88.10",
            "to-ports": "4500",
            "comment": "second opinion",
        }
    )
    assert len(tuple(nat)) == rows + 1
    nat.update(**{".id": new, "dst-port": "4501"})
    comment, port_key, ident = Key("comment"), Key("dst-port"), Key(".id")
    found = tuple(nat.select(ident, port_key).where(comment == "second opinion"))
    assert found == ({".id": new, "dst-port": 4501},), found
    assert tuple(nat.select(ident).where(comment == "nobody's")) == ()

    refused(lambda: nat.add(chain="dstnat", bogus="1"), "unknown parameter")
    refused(lambda: nat.update(**{".id": "*FFFF", "comment": ""}), "no such item")
    refused(lambda: nat.add(**{"chain": "dstnat", "in-interface": "wg9"}), "does not match any value of in-interface")
    nat.remove(new)
    refused(lambda: nat.remove(new), "no such item")
    api.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
