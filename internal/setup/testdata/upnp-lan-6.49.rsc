# 1. A separate user for doublenat, with the rights it needs, from its own address.
/user group add name=doublenat policy=read,write,api,test
/user add name=doublenat group=doublenat password=CHANGE-ME address=192.168.88.5/32

# 2. The API. Who may use it is up to the user's address and the input chain.
#    If the service api has an address list of its own, doublenat's address must be in it:
#    hosts that are not in it get no reply at all.
/ip service set api disabled=no port=8728

# 3. doublenat may reach the API, whatever the input chain drops.
/ip firewall address-list add list=doublenat address=192.168.88.5
:local r [/ip firewall filter find where chain=input !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API" place-before=($r->0)} else={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API"}

# 4. If routing rules or marks send the LAN into a tunnel, requests to doublenat must stay out of it.
#    Otherwise harmless: these match only NAT-PMP and doublenat's own packets.
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.88.5 comment="from doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.88.5 comment="from doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.88.5 dst-address-type=local comment="from doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.88.5 dst-address-type=local comment="from doublenat"}

# 5. Let requests from the LAN reach doublenat, and its requests the gateway, whatever forward and raw drop.
#    The forward chain must accept dst-natted packets from the gateway as well: doublenat check says if it does not.
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=192.168.88.5 dst-address=10.2.0.1 comment="doublenat to the gateway" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=192.168.88.5 dst-address=10.2.0.1 comment="doublenat to the gateway"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.88.5 comment="from doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=udp port=5351 src-address=192.168.88.5 comment="from doublenat"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.88.5 dst-address-type=local comment="from doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=tcp dst-port=8728 src-address=192.168.88.5 dst-address-type=local comment="from doublenat"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat"}

# 6. UPnP from the LAN goes to doublenat: searches at UDP 1900, descriptions and actions at TCP 5351.
#    The router's own UPnP must be off: it takes the same port, and clients would find two gateways.
#    Searches by multicast arrive, and clients talk to doublenat without the router. Those that compare its address with
#    their gateway's refuse it. A dst-nat of TCP 5351 does not help them: in one subnet it takes a masquerade too, and that
#    hides the client, for which doublenat makes no mapping then.
#    Which searches arrive was measured with the bridge and NAT of Linux, and has not been tried on a real RouterOS.
/ip upnp set enabled=no

# 7. Nothing to type here: the protocols that programs can use. NAT-PMP is always answered.
#    NAT-PMP and PCP cannot be redirected into the clients' own network: replies would pass the router by. They are for programs
#    that can be told to ask 192.168.88.5, as libtorrent 2.0.12 can by natpmp_gateway.
#    PCP=on answers PCP at the same port, without another rule: switch it on for Apple devices, which then
#    learn of a changed port at once, and for NetBird, which otherwise announces a wrong one.
#    Most UPnP programs ask for one port and accept no other. A gateway that chooses the port itself, such as
#    ProtonVPN's, leaves them with error 718: only those that call AddAnyPortMapping (tailscale, upnpc -n) get one.

# 8. Nothing to type here: what to look at yourself. doublenat check looks at all of it.
#    Requests to the gateway must come from the router's own address towards it: masquerade what leaves through the interface to it.
#    rp-filter=strict in /ip settings drops packets that arrive on another interface than their replies would leave by:
#    with routing rules or marks set it to loose.
#    Connections that stall after the first packets: clamp the MSS of TCP to the path MTU in forward (docs/routing.md).
#    FastTrack skips mangle marks and, some report, routing rules: exclude connections through the interface to it from it.
