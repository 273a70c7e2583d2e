# 1. A user that may do what doublenat needs, from its address alone.
/user/group/add name=doublenat policy=read,write,api,test
/user/add name=doublenat group=doublenat password=CHANGE-ME address=192.168.90.2/32

# 2. The API over TLS. Without a certificate no handshake succeeds.
#    Nobody has signed this certificate but the router, so the first handshake fails. doublenat's log, and
#    doublenat check, then show the key that they met as MIKROTIK_API_TLS_FINGERPRINT=... If it is the router's,
#    give doublenat this variable.
/certificate/add name=doublenat-api common-name=router.home.arpa subject-alt-name=DNS:router.home.arpa days-valid=3650
/certificate/sign doublenat-api
/ip/service/set api-ssl disabled=no port=8729 certificate=doublenat-api

# 3. doublenat may reach the API.
#    place-before=0 puts the rule on top; if the first rules are dynamic ones, move it before the first drop.
/ip/firewall/address-list/add list=doublenat address=192.168.90.2
/ip/firewall/filter/add chain=input action=accept protocol=tcp dst-port=8729 src-address-list=doublenat place-before=0 comment="doublenat to the API"

# 4. Requests of the LAN go to doublenat; the list keeps the Internet out.
/ip/firewall/nat/add chain=dstnat action=dst-nat protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local to-addresses=192.168.90.2 comment="NAT-PMP to doublenat"

# 5. The router's own NAT-PMP server wants the same port.
/ip/nat-pmp/set enabled=no
