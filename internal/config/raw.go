package config

// raw is the environment as it comes: one string for each variable, and beside
// it all that is known about the variable. An empty value counts as not given,
// because that is what a compose file makes of a variable without a value.
//
// Tags: env and envDefault are read by caarlos0/env, the others by [Reference].
type raw struct {
	Gateway string `env:"VPN_GATEWAY" required:"true" conceals:"userinfo" allowed:"IPv4 address, with or without natpmp://, pcp://, igd:// or auto:// before it and :port behind it; auto: alone; igd+http:// and the URL of a description; or pool: and a list of ports" example:"10.2.0.1" help:"Where ports come from. A plain address is a NAT-PMP gateway, by default on port 5351, at the far end of a tunnel unless MIKROTIK_IN_INTERFACE names another interface. pcp:// and igd:// are boxes that speak PCP or UPnP, such as an Internet provider's; igd+http://192.168.1.1:5000/rootDesc.xml is one whose description URL you know. auto:// tries all three protocols and keeps the first that works; auto: without an address tries the gateway of the router's default route. pool:51413,6881:51413,20000-20099,27015/udp lists ports that already reach the router: 6881:51413 is public port 6881, which arrives at port 51413, and %ether1 at the end names the interface."`

	PoolFile string `env:"GATEWAY_POOL_FILE" allowed:"path of a file with a list of ports" example:"/etc/doublenat/ports" help:"File with the ports of a pool, written as in VPN_GATEWAY, which is then just pool:. Commas, spaces and line ends separate them, and # begins a comment. The file is read again every 15 seconds, and on SIGHUP."`

	PublicAddress string `env:"PUBLIC_ADDRESS" allowed:"IPv4 address" example:"198.51.100.7" help:"Public address of a pool's ports. Empty: the router's own address on the interface if that is public, else what the router's /ip/cloud says, else what STUN_SERVER answers."`

	STUNServer string `env:"STUN_SERVER" conceals:"userinfo" allowed:"host name or IPv4 address, with or without :port" example:"203.0.113.7" help:"STUN server (RFC 8489) to ask for a pool's public address if the router does not know it, as behind a VPN tunnel; by default on port 3478. Whoever runs it sees the request, so there is no default server. The request must leave through the pool's interface, which takes a route to the server (docs/pool.md); otherwise the answer is ignored."`

	Router string `env:"MIKROTIK_API_ADDRESS" required:"true" conceals:"userinfo" allowed:"host name or IP address, with or without :port" example:"192.168.88.1" help:"API of the MikroTik router, by default on port 8728, or 8729 with TLS."`

	Password string `env:"MIKROTIK_API_PASSWORD" secret:"true" allowed:"text; set and empty for a user without a password" example:"correct horse" help:"Password of the API user. Exactly one of this and MIKROTIK_API_PASSWORD_FILE is needed."`

	PasswordFile string `env:"MIKROTIK_API_PASSWORD_FILE" allowed:"path of a file with one line" example:"/run/secrets/router" help:"File with the password of the API user; a byte order mark and one line end after the password are ignored. Under systemd the credential router-password is used automatically."`

	User string `env:"MIKROTIK_API_USER" envDefault:"admin" allowed:"printable text without surrounding blanks" example:"doublenat" help:"User of the API. It needs the policies read, write, api and test."`

	TLS string `env:"MIKROTIK_API_TLS" envDefault:"false" allowed:"true, false (also yes, no, on, off, 1, 0) or insecure" example:"true" help:"Use TLS for the API (service api-ssl). insecure: do not verify the router's certificate. Either of the next two settings turns it on."`

	CAFile string `env:"MIKROTIK_API_CA_FILE" allowed:"path of a file with certificates in PEM form" example:"/etc/doublenat/router-ca.pem" help:"Certificate authorities to trust for the router's certificate, or that certificate itself. Empty: the system's."`

	Fingerprint string `env:"MIKROTIK_API_TLS_FINGERPRINT" allowed:"64 hexadecimal digits, with or without colons" example:"7d5ac9c4f8c9a13b0c3fd4b1a54cd31e9b6e4f1f6b0a8d8f26a4a0c1b2c3d4e5" help:"SHA-256 fingerprint of the router's public key. If MIKROTIK_API_CA_FILE is set too, both must match."`

	InInterface string `env:"MIKROTIK_IN_INTERFACE" allowed:"name of an interface of the router" example:"wireguard1" help:"The router's interface to the gateway, where packets for mapped ports arrive: a VPN tunnel, or the line to a box. Empty: taken from the router's route to VPN_GATEWAY."`

	Listen string `env:"LISTEN_ADDR" envDefault:":5351" conceals:"userinfo" allowed:"IPv4 address and port, or :port for all addresses" example:"192.168.90.2:5351" help:"Address and port on which to answer clients."`

	AllowedClients string `env:"ALLOWED_CLIENTS" envDefault:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8" allowed:"list of IPv4 prefixes and addresses, separated by commas" example:"192.168.88.0/24,192.168.90.7" help:"Clients that may ask for ports. Requests from others are dropped without a reply."`

	DeniedClients string `env:"DENIED_CLIENTS" allowed:"list of IPv4 prefixes and addresses, separated by commas" example:"192.168.88.64/26" help:"Exceptions from ALLOWED_CLIENTS: clients that may not ask."`

	ClientRate string `env:"CLIENT_RATE" envDefault:"50" allowed:"number from 0 to 10000" example:"20" help:"Requests per second from one client, with bursts of four times as many. More are dropped. 0: no limit."`

	NewClientRate string `env:"NEW_CLIENT_RATE" envDefault:"50" allowed:"number from 0 to 10000" example:"10" help:"New clients per second, with bursts of four times as many. A client is new if it was not seen lately and has no mapping. This limits a flood from forged addresses. 0: no limit."`

	CreateRate string `env:"CREATE_RATE" envDefault:"5" allowed:"number from 0 to 10000" example:"2" help:"New mappings per second for all clients together, with bursts of MAX_MAPPINGS. Requests beyond that are dropped, and clients retry. Each mapping costs the router two writes to its flash, so this limits the wear from a flood. Renewals and static mappings are never dropped. 0: no limit."`

	AllowedPorts string `env:"ALLOWED_PORTS" envDefault:"1-65535" allowed:"list of ports and ranges of ports, separated by commas" example:"1024-65535" help:"Internal ports that clients may map. Requests for others are refused (result 2)."`

	DeniedPorts string `env:"DENIED_PORTS" allowed:"list of ports and ranges of ports, separated by commas" example:"22,3389,5900-5910" help:"Exceptions from ALLOWED_PORTS: internal ports that clients may not map."`

	ZeroPort string `env:"ZERO_PORT" envDefault:"refuse" allowed:"refuse or external" example:"external" help:"How to answer a request for internal port 0, which scripts for ProtonVPN send. refuse: result 2, because RFC 6886 has no such mapping. external: map the external port to the same port number on the client, if ALLOWED_PORTS and DENIED_PORTS allow that."`

	PCP string `env:"PCP" envDefault:"off" allowed:"off or on" example:"on" help:"Answer PCP (RFC 6887) too, on the same port. off: PCP requests get UNSUPP_VERSION, and programs fall back to NAT-PMP. on: Apple devices learn of a changed port at once, and NetBird learns its true port."`

	PCPNonce string `env:"PCP_NONCE" envDefault:"lenient" allowed:"lenient or strict" example:"strict" help:"What to do with a PCP request whose nonce differs from its mapping's. lenient: accept a renewal, because many programs use a new nonce after each start, but refuse a deletion. strict: refuse both with NOT_AUTHORIZED (RFC 6887 §11.3). NAT-PMP has no nonces and may do both."`

	UPnP string `env:"UPNP" envDefault:"off" allowed:"off or on" example:"on" help:"Act as a UPnP Internet gateway device (IGD) too, for consoles, Plex, games and other programs that speak nothing else. Searches are answered on UDP port 1900, descriptions and control requests at UPNP_ADDR. Most UPnP programs accept only the port that they ask for. If the gateway chooses ports, as ProtonVPN does, only programs that accept another one (AddAnyPortMapping) get a mapping."`

	UPnPAddr string `env:"UPNP_ADDR" envDefault:":5351" allowed:"address:port or :port" example:"192.168.88.2:5351" help:"TCP address for UPnP descriptions and control requests. With just a port, the address is that of LISTEN_ADDR."`

	ReadOnly string `env:"READ_ONLY" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Change nothing on the router or the gateway; log what would be done. Clients get result 2 (not authorized)."`

	DryRun string `env:"DRY_RUN" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Another name for READ_ONLY."`

	Announce string `env:"ANNOUNCE" envDefault:"auto" allowed:"auto, off, on, or on: with a list of interfaces" example:"on:eth0,br0" help:"Announce changes of the external address to the LAN by multicast (RFC 6886 §3.2.1)."`

	GatewayWindow string `env:"GATEWAY_WINDOW" envDefault:"16" allowed:"number from 1 to 256" example:"1" help:"Initial number of requests in flight to the gateway. It grows to four times as many while replies arrive in time, and shrinks at once when they do not. 1: one at a time, as in RFC 6886."`

	Delivery string `env:"GATEWAY_DELIVERY" envDefault:"internal" allowed:"internal, external or both" example:"both" help:"Port on which the gateway's packets reach the router: the lease's internal port (RFC 6886), its external port, or either. The rules match this port."`

	Symmetric string `env:"GATEWAY_SYMMETRIC" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Lease the one port that is the same on the router and on the gateway (ProtonVPN), instead of a port for each request. Then only one port of one client can be mapped; others get result 4 (out of resources). The rules match both ports unless GATEWAY_DELIVERY is external."`

	LeasePolicy string `env:"LEASE_POLICY" envDefault:"auto" allowed:"auto, client or hold" example:"hold" help:"Who keeps leases alive. client: the client, by renewing in time. hold: doublenat, for as long as the client asked for, even if the client renews late. auto: like client at first, and like hold for clients that have renewed late."`

	MaxLifetime string `env:"MAX_LIFETIME" envDefault:"2h" allowed:"duration such as 90m, or seconds, from 1m to 24h" example:"3600" help:"Maximum lifetime of a mapping. Longer requests are capped."`

	Companion string `env:"COMPANION" envDefault:"off" allowed:"on or off (also true, false, yes, no, 1, 0)" example:"on" help:"When a client asks for TCP only, map UDP on the same ports too."`

	MaxMappings string `env:"MAX_MAPPINGS" envDefault:"1024" allowed:"number from 1 to 16384" example:"200" help:"Maximum number of mappings. TCP and UDP on one port count as two."`

	MaxMappingsPerClient string `env:"MAX_MAPPINGS_PER_CLIENT" envDefault:"64" allowed:"number from 1 to 16384" example:"8" help:"Maximum number of mappings for one client, static ones included."`

	Static string `env:"STATIC_MAPPINGS" allowed:"list of tcp|udp|both:IPv4 address:port, each with =external port if one is preferred, separated by commas" example:"tcp:192.168.88.10:8080, both:192.168.88.20:51413=51413" help:"Mappings that doublenat itself keeps from start to stop, for hosts that cannot ask."`

	OnChangeURL string `env:"ON_CHANGE_URL" secret:"true" allowed:"http or https URL, with user:password@ if needed" example:"https://hooks.example.com/doublenat" help:"URL to which each change of a mapping or of the external address is sent, as JSON in a POST request (docs/events.md)."`

	OnChangeExec string `env:"ON_CHANGE_EXEC" conceals:"arguments" allowed:"absolute path of a program and its arguments, quoted as in a shell" example:"/usr/local/bin/set-port --app 'my app'" help:"Program to run on each change of a mapping or of the external address (docs/events.md), without a shell. The container image has no other programs: use ON_CHANGE_URL there."`

	Instance string `env:"INSTANCE" envDefault:"default" allowed:"1 to 32 of A-Z a-z 0-9 _ -" example:"proton-nl" help:"Name in the comments of doublenat's rules. Two doublenats on one router need different names, unless they share a LOCK."`

	Shutdown string `env:"SHUTDOWN" envDefault:"clean" allowed:"clean or keep" example:"keep" help:"What to do with rules and leases on a stop: remove them all (clean), or keep them for the next start (keep). With LOCK it is keep."`

	Lock string `env:"LOCK" envDefault:"none" allowed:"none, router or kubernetes" example:"router" help:"Where several doublenats agree on which of them is active (docs/pair.md); the others stand by and take over. router: on the router itself. kubernetes: in a Lease object of the cluster. none: this doublenat is alone. All need the same INSTANCE. With a lock a stop hands rules and leases over, as with SHUTDOWN=keep."`

	LockLease string `env:"LOCK_LEASE" envDefault:"15s" allowed:"duration such as 30s, or seconds, from 6s to 5m" example:"30s" help:"How long after the active doublenat fell silent another one takes over. The same for all. Shorter: a shorter gap after a crash, but a busy router costs a change of the active one sooner."`

	LockName string `env:"LOCK_NAME" allowed:"1 to 63 of A-Z a-z 0-9 . _ -" example:"pi-attic" help:"What the other doublenats call this one in their logs and on their pages. Empty: the name of the host."`

	LockRedirect string `env:"LOCK_REDIRECT" envDefault:"auto" allowed:"auto, on or off" example:"off" help:"Whether the doublenat that becomes active points the router's redirect of client requests (comment: NAT-PMP to doublenat) to itself. auto: on with LOCK=router. off: the address moves by other means, such as keepalived (VRRP)."`

	HTTPAddr string `env:"HTTP_ADDR" conceals:"userinfo" allowed:"address and port, :port for all addresses, or unix: and an absolute path" example:"127.0.0.1:8080" help:"Where to serve the status page, its JSON, metrics and health checks (docs/monitoring.md). All are read-only. Empty: nowhere."`

	HTTPHosts string `env:"HTTP_HOSTS" conceals:"userinfo" allowed:"list of host names, separated by commas" example:"nat.example.com" help:"Host names to accept at HTTP_ADDR, besides IP addresses, names without a dot, and home network names (.local, .lan, .internal, .home.arpa)."`

	PprofAddr string `env:"PPROF_ADDR" conceals:"userinfo" allowed:"loopback address and port" example:"127.0.0.1:6060" help:"Where to serve profiles for developers (net/http/pprof). Empty: nowhere."`

	LogLevel string `env:"LOG_LEVEL" envDefault:"INFO" allowed:"DEBUG, INFO, WARN or ERROR, in either case" example:"DEBUG" help:"Minimum log level. DEBUG shows each request."`

	LogFormat string `env:"LOG_FORMAT" envDefault:"auto" allowed:"auto, text or json" example:"json" help:"Format of log lines. auto: text, in color on a terminal unless NO_COLOR is set."`
}
