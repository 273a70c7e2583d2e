# 1. A separate user for doublenat, with the rights it needs, from its own address.
/user group add name=doublenat policy=read,write,api,test
/user add name=doublenat group=doublenat password=CHANGE-ME address=192.168.90.2/32

# 2. The API. Who may use it is up to the user's address and the input chain.
#    If the service api has an address list of its own, doublenat's address must be in it:
#    hosts that are not in it get no reply at all.
/ip service set [find name=api and !dynamic] disabled=no port=8728

# 3. doublenat may reach the API, whatever the input chain drops.
/ip firewall address-list add list=doublenat address=192.168.90.2
:local r [/ip firewall filter find where chain=input !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API" place-before=($r->0)} else={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API"}

# 4. NAT-PMP requests from the LAN go to doublenat; the match on the LAN keeps the Internet out.
:local r [/ip firewall nat find where chain=dstnat !dynamic]; :if ([:len $r]>0) do={/ip firewall nat add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=192.168.90.2 comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall nat add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=192.168.90.2 comment="NAT-PMP to doublenat"}

# 5. If routing rules or marks send the LAN into a tunnel, requests to doublenat must stay out of it.
#    Otherwise harmless: these match only NAT-PMP and doublenat's own packets.
:local r [/routing rule find]; :if ([:len $r]>0) do={/routing rule add dst-address=192.168.90.2/32 action=lookup-only-in-table table=main comment="to doublenat" place-before=($r->0)} else={/routing rule add dst-address=192.168.90.2/32 action=lookup-only-in-table table=main comment="to doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local comment="NAT-PMP to doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.90.2 comment="from doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.90.2 comment="from doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.90.2 dst-address-type=local comment="from doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.90.2 dst-address-type=local comment="from doublenat"}

# 6. Let requests from the LAN reach doublenat, and its requests the gateway, whatever forward and raw drop.
#    The forward chain must accept dst-natted packets from the gateway as well: doublenat check says if it does not.
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 dst-address=192.168.90.2 in-interface-list=LAN comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 dst-address=192.168.90.2 in-interface-list=LAN comment="NAT-PMP to doublenat"}
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp src-port=5351 src-address=192.168.90.2 out-interface-list=LAN comment="NAT-PMP from doublenat" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp src-port=5351 src-address=192.168.90.2 out-interface-list=LAN comment="NAT-PMP from doublenat"}
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=192.168.90.2 dst-address=10.2.0.1 comment="doublenat to the gateway" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=192.168.90.2 dst-address=10.2.0.1 comment="doublenat to the gateway"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.90.2 comment="from doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.90.2 comment="from doublenat"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.90.2 dst-address-type=local comment="from doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.90.2 dst-address-type=local comment="from doublenat"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat"}

# 7. Packets that doublenat sends on its own, such as a changed address, come from the router's address, as replies do.
:local r [/ip firewall nat find where chain=srcnat !dynamic]; :if ([:len $r]>0) do={/ip firewall nat add chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=192.168.90.2 out-interface-list=LAN comment="NAT-PMP from doublenat" place-before=($r->0)} else={/ip firewall nat add chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=192.168.90.2 out-interface-list=LAN comment="NAT-PMP from doublenat"}

# 8. The router's own NAT-PMP server uses the same port.
/ip nat-pmp set enabled=no

# 9. Nothing to type here: the protocols that programs can use. NAT-PMP is always answered.
#    PCP=on answers PCP at the same port, without another rule: switch it on for Apple devices, which then
#    learn of a changed port at once, and for NetBird, which otherwise announces a wrong one.
#    UPNP=on answers UPnP IGD: switch it on for consoles, Plex, Monero, I2P and games, which speak nothing else.
#    Set it for this command too, and the rules for it are printed.

# 10. Nothing to type here: what to look at yourself. doublenat check looks at all of it.
#    Requests to the gateway must come from the router's own address towards it: masquerade what leaves through the interface to it.
#    rp-filter=strict in /ip settings drops packets that arrive on another interface than their replies would leave by:
#    with routing rules or marks set it to loose.
#    Connections that stall after the first packets: clamp the MSS of TCP to the path MTU in forward (docs/routing.md).
#    FastTrack skips mangle marks and, some report, routing rules: exclude connections through the interface to it from it.
