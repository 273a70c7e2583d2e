"""Maps a port with python3-miniupnpc, looks for it, and ends it; each step is a line of JSON.

Usage: console.py INTERNAL EXTERNAL PROTOCOL
"""

import json
import sys

import miniupnpc

internal, external, protocol = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].upper()


def tell(**what):
    print(json.dumps(what), flush=True)


u = miniupnpc.UPnP()
u.discoverdelay = 1000
u.discover()
u.selectigd()
tell(address=u.externalipaddress(), lan=u.lanaddr)
try:
    tell(mapped=u.addportmapping(external, protocol, u.lanaddr, internal, "a game", ""))
except Exception as e:  # miniupnpc raises plain exceptions, with the error's name
    tell(refused=str(e))
    sys.exit(0)
*entry, left = u.getspecificportmapping(external, protocol)
tell(entry=entry, days=round(left / 86400))
sys.stdin.readline()  # until the bytes have come
tell(deleted=u.deleteportmapping(external, protocol))
