# 1. Containers. Once for a router:
#    the package container of the router's own version, uploaded to its files and installed by /system/reboot;
#    /system/device-mode/update container=yes, confirmed by the button or the power switch when it asks for it;
#    the image, uploaded to its files as doublenat.tar.

# 2. A user that may do what doublenat needs, from its address alone.
/user/group/add name=doublenat policy=read,write,api,test
/user/add name=doublenat group=doublenat password=CHANGE-ME address=172.30.254.2/32

# 3. The API. Who may use it is said by the user's address and the input chain.
/ip/service/set api disabled=no port=8728

# 4. A network of its own for the container.
/interface/veth/add name=veth-doublenat address=172.30.254.2/30 gateway=172.30.254.1
/ip/address/add address=172.30.254.1/30 interface=veth-doublenat

# 5. doublenat may reach the API.
#    place-before=0 puts the rule on top; if the first rules are dynamic ones, move it before the first drop.
/ip/firewall/address-list/add list=doublenat address=172.30.254.2
/ip/firewall/filter/add chain=input action=accept protocol=tcp dst-port=8728 src-address-list=doublenat place-before=0 comment="doublenat to the API"

# 6. Requests of the LAN go to doublenat; the list keeps the Internet out.
/ip/firewall/nat/add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=172.30.254.2 comment="NAT-PMP to doublenat"

# 7. What doublenat has to know. CHANGE-ME is the user's password.
/container/envs/add name=doublenat key=VPN_GATEWAY value=10.2.0.1
/container/envs/add name=doublenat key=MIKROTIK_API_ADDRESS value=172.30.254.1
/container/envs/add name=doublenat key=MIKROTIK_API_USER value=doublenat
/container/envs/add name=doublenat key=ALLOWED_CLIENTS value=192.168.88.0/24
/container/envs/add name=doublenat key=MIKROTIK_API_PASSWORD value=CHANGE-ME

# 8. The container, from the image doublenat.tar in the router's files.
#    This version does not start a container again that ended.
/container/add file=doublenat.tar interface=veth-doublenat envlist=doublenat root-dir=doublenat logging=yes start-on-boot=yes

# 9. The start.
#    The image is unpacked first: wait until /container/print shows the container as stopped.
/container/start [find interface=veth-doublenat]
