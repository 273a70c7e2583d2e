"""A BitTorrent program that wants to be reached: libtorrent, with NAT-PMP only.

Usage: torrent.py ADDRESS PORT INFO_HASH

It writes a line of JSON for each mapping that it is granted and for each
connection that comes in, and ends in good order when its stdin is closed.
"""

import json
import sys
import threading

import libtorrent as lt


def tell(**what):
    """Writes one line of JSON."""
    print(json.dumps(what), flush=True)


def main():
    address, port, info_hash = sys.argv[1:]
    session = lt.session({
        "listen_interfaces": f"{address}:{port}",
        "enable_natpmp": True,
        "enable_upnp": False,
        "enable_lsd": False,
        "enable_dht": True,
        "dht_bootstrap_nodes": "",
        # Nothing else: what is not read cannot go wrong.
        "alert_mask": (lt.alert.category_t.port_mapping_notification
                       | lt.alert.category_t.peer_notification
                       | lt.alert.category_t.error_notification),
    })
    torrent = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{info_hash}")
    torrent.save_path = "."
    # Started at once, not when the session finds that its turn has come.
    torrent.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    session.add_torrent(torrent)

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.portmap_alert):
                protocol = "tcp" if alert.map_protocol == lt.portmap_protocol.tcp else "udp"
                tell(protocol=protocol, external=alert.external_port)
            elif isinstance(alert, lt.portmap_error_alert):
                tell(error=alert.message())
            elif isinstance(alert, lt.incoming_connection_alert):
                host, number = alert.endpoint
                tell(seen=f"{host}:{number}")


main()
