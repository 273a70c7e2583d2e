# 1. Containers. Once for a router:
#    the package container of the router's own version, uploaded to its files and installed by /system/reboot;
#    /system/device-mode/update container=yes, confirmed by the button or the power switch when it asks for it;
#    the image, uploaded to its files as doublenat.tar.

# 2. A user that may do what doublenat needs, from its address alone.
/user/group/add name=doublenat policy=read,write,api,test
/user/add name=doublenat group=doublenat password=CHANGE-ME address=172.30.254.2/32

# 3. The API over TLS. Without a certificate no handshake succeeds.
#    Nobody has signed this certificate but the router, so the first handshake fails. doublenat's log, and
#    doublenat check, then show the key that they met as MIKROTIK_API_TLS_FINGERPRINT=... If it is the router's,
#    add it to the variables below, and start the container again.
/certificate/add name=doublenat-api common-name=172.30.254.1 subject-alt-name=IP:172.30.254.1 days-valid=3650
/certificate/sign doublenat-api
/ip/service/set api-ssl disabled=no port=8729 certificate=doublenat-api

# 4. A network of its own for the container.
/interface/veth/add name=veth-doublenat address=172.30.254.2/30 gateway=172.30.254.1
/ip/address/add address=172.30.254.1/30 interface=veth-doublenat

# 5. doublenat may reach the API.
#    place-before=0 puts the rule on top; if the first rules are dynamic ones, move it before the first drop.
/ip/firewall/address-list/add list=doublenat address=172.30.254.2
/ip/firewall/filter/add chain=input action=accept protocol=tcp dst-port=8729 src-address-list=doublenat place-before=0 comment="doublenat to the API"

# 6. Requests of the LAN go to doublenat; the list keeps the Internet out.
/ip/firewall/nat/add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=172.30.254.2 comment="NAT-PMP to doublenat"

# 7. The router's own NAT-PMP server wants the same port.
/ip/nat-pmp/set enabled=no

# 8. What doublenat has to know. CHANGE-ME is the user's password.
/container/envs/add list=doublenat key=VPN_GATEWAY value=10.2.0.1
/container/envs/add list=doublenat key=MIKROTIK_API_ADDRESS value=172.30.254.1
/container/envs/add list=doublenat key=MIKROTIK_API_USER value=doublenat
/container/envs/add list=doublenat key=ALLOWED_CLIENTS value=192.168.88.0/24
/container/envs/add list=doublenat key=MIKROTIK_API_TLS value=true
/container/envs/add list=doublenat key=MIKROTIK_API_PASSWORD value=CHANGE-ME

# 9. The container, from the image doublenat.tar in the router's files.
#    With HTTP_ADDR set, this version can watch doublenat by "doublenat status --health":
#    Tab after healthcheck- shows how.
/container/add file=doublenat.tar name=doublenat interface=veth-doublenat envlists=doublenat root-dir=doublenat logging=yes start-on-boot=yes auto-restart-interval=10s memory-high=48M

# 10. The start.
#    The image is unpacked first: wait until /container/print shows the container as stopped.
/container/start [find name=doublenat]
