# 1. Containers. Once for a router:
#    the package container of the router's own version, uploaded to its files and installed by /system package apply-changes;
#    /system device-mode update container=yes, confirmed by the button or the power switch when it asks for it;
#    the image, uploaded to its files as doublenat.tar.
#       Which file of a release it is, says :put [/system resource get architecture-name]:
#       arm64: doublenat_VERSION_linux_arm64_image.tar; arm: doublenat_VERSION_linux_armv5_image.tar; x86_64: doublenat_VERSION_linux_amd64_image.tar.
#    If the router has a folder flash or a disk, put the image there, and add --disk flash to this command:
#    anything outside it is in memory, and gone after a reboot.

# 2. A separate user for doublenat, with the rights it needs, from its own address.
/user group add name=doublenat policy=read,write,api,test
/user add name=doublenat group=doublenat password=CHANGE-ME address=172.30.254.2/32

# 3. The API. Who may use it is up to the user's address and the input chain.
#    If the service api has an address list of its own, doublenat's address must be in it:
#    hosts that are not in it get no reply at all.
/ip service set [find name=api and !dynamic] disabled=no port=8728

# 4. A separate network for the container.
/interface veth add name=veth-doublenat address=172.30.254.2/30 gateway=172.30.254.1
/ip address add address=172.30.254.1/30 interface=veth-doublenat

# 5. doublenat may reach the API, whatever the input chain drops.
/ip firewall address-list add list=doublenat address=172.30.254.2
:local r [/ip firewall filter find where chain=input !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API" place-before=($r->0)} else={/ip firewall filter add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat comment="doublenat to the API"}

# 6. NAT-PMP requests from the LAN go to doublenat; the match on the LAN keeps the Internet out.
:local r [/ip firewall nat find where chain=dstnat !dynamic]; :if ([:len $r]>0) do={/ip firewall nat add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=172.30.254.2 comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall nat add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=172.30.254.2 comment="NAT-PMP to doublenat"}

# 7. If routing rules or marks send the LAN into a tunnel, requests to doublenat must stay out of it.
#    Otherwise harmless: these match only NAT-PMP and doublenat's own packets.
:local r [/routing rule find]; :if ([:len $r]>0) do={/routing rule add dst-address=172.30.254.2/32 action=lookup-only-in-table table=main comment="to doublenat" place-before=($r->0)} else={/routing rule add dst-address=172.30.254.2/32 action=lookup-only-in-table table=main comment="to doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local comment="NAT-PMP to doublenat"}
:local r [/ip firewall mangle find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall mangle add chain=prerouting action=accept in-interface=veth-doublenat comment="from doublenat" place-before=($r->0)} else={/ip firewall mangle add chain=prerouting action=accept in-interface=veth-doublenat comment="from doublenat"}

# 8. Let requests from the LAN reach doublenat, and its requests the gateway, whatever forward and raw drop.
#    The forward chain must accept dst-natted packets from the gateway as well: doublenat check says if it does not.
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 dst-address=172.30.254.2 in-interface-list=LAN comment="NAT-PMP to doublenat" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 dst-address=172.30.254.2 in-interface-list=LAN comment="NAT-PMP to doublenat"}
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp src-port=5351 src-address=172.30.254.2 out-interface-list=LAN comment="NAT-PMP from doublenat" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp src-port=5351 src-address=172.30.254.2 out-interface-list=LAN comment="NAT-PMP from doublenat"}
:local r [/ip firewall filter find where chain=forward !dynamic]; :if ([:len $r]>0) do={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=172.30.254.2 dst-address=10.2.0.1 comment="doublenat to the gateway" place-before=($r->0)} else={/ip firewall filter add chain=forward action=accept protocol=udp dst-port=5351 src-address=172.30.254.2 dst-address=10.2.0.1 comment="doublenat to the gateway"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept in-interface=veth-doublenat comment="from doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept in-interface=veth-doublenat comment="from doublenat"}
:local r [/ip firewall raw find where chain=prerouting !dynamic]; :if ([:len $r]>0) do={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat" place-before=($r->0)} else={/ip firewall raw add chain=prerouting action=accept protocol=udp src-port=5351 src-address=10.2.0.1 comment="the gateway to doublenat"}

# 9. Packets that doublenat sends on its own, such as a changed address, come from the router's address, as replies do.
:local r [/ip firewall nat find where chain=srcnat !dynamic]; :if ([:len $r]>0) do={/ip firewall nat add chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=172.30.254.2 out-interface-list=LAN comment="NAT-PMP from doublenat" place-before=($r->0)} else={/ip firewall nat add chain=srcnat action=masquerade protocol=udp src-port=5351 src-address=172.30.254.2 out-interface-list=LAN comment="NAT-PMP from doublenat"}

# 10. The router's own NAT-PMP server uses the same port.
/ip nat-pmp set enabled=no

# 11. Nothing to type here: the protocols that programs can use. NAT-PMP is always answered.
#    PCP=on answers PCP at the same port, without another rule: switch it on for Apple devices, which then
#    learn of a changed port at once, and for NetBird, which otherwise announces a wrong one.
#    UPNP=on answers UPnP IGD: switch it on for consoles, Plex, Monero, I2P and games, which speak nothing else.
#    Set it for this command too, and the rules for it are printed.

# 12. Nothing to type here: what to look at yourself. doublenat check looks at all of it.
#    Requests to the gateway must come from the router's own address towards it: masquerade what leaves through the interface to it.
#    rp-filter=strict in /ip settings drops packets that arrive on another interface than their replies would leave by:
#    with routing rules or marks set it to loose.
#    Connections that stall after the first packets: clamp the MSS of TCP to the path MTU in forward (docs/routing.md).
#    FastTrack skips mangle marks and, some report, routing rules: exclude connections through the interface to it from it.

# 13. doublenat's settings. Replace CHANGE-ME by the user's password.
/container envs add list=doublenat key=VPN_GATEWAY value=10.2.0.1
/container envs add list=doublenat key=MIKROTIK_API_ADDRESS value=172.30.254.1
/container envs add list=doublenat key=MIKROTIK_API_USER value=doublenat
/container envs add list=doublenat key=ALLOWED_CLIENTS value=192.168.88.0/24
/container envs add list=doublenat key=MIKROTIK_API_PASSWORD value=CHANGE-ME

# 14. The container, from the image doublenat.tar in the router's files.
#    With HTTP_ADDR set, this version can watch doublenat by "doublenat status --health":
#    Tab after healthcheck- shows how.
/container add file=doublenat.tar name=doublenat interface=veth-doublenat envlists=doublenat root-dir=doublenat dns=172.30.254.1 logging=yes start-on-boot=yes auto-restart-interval=10s memory-high=48M

# 15. The start.
#    The image is unpacked first: wait until /container print shows the container as stopped.
/container start [find name=doublenat]
