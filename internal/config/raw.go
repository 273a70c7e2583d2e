package config

// raw is the environment as it comes: one string for each variable, and beside
// it all that is known about the variable. An empty value counts as not given,
// because that is what a compose file makes of a variable without a value.
//
// Tags: env and envDefault are read by caarlos0/env, the others by [Reference].
type raw struct {
	Gateway string `env:"VPN_GATEWAY" required:"true" conceals:"userinfo" allowed:"IPv4 address, with or without :port" example:"10.2.0.1" help:"NAT-PMP gateway at the far end of the VPN tunnel. Port 5351 unless another is given."`

	Router string `env:"MIKROTIK_API_ADDRESS" required:"true" conceals:"userinfo" allowed:"host name or IP address, with or without :port" example:"192.168.88.1" help:"API of the MikroTik router. Port 8728, with TLS 8729, unless another is given."`

	Password string `env:"MIKROTIK_API_PASSWORD" secret:"true" allowed:"text; set and empty for a user without a password" example:"correct horse" help:"Password of the API user. Exactly one of this and MIKROTIK_API_PASSWORD_FILE is needed."`

	PasswordFile string `env:"MIKROTIK_API_PASSWORD_FILE" allowed:"path of a file with one line" example:"/run/secrets/router" help:"File with the password of the API user; one line end after it is ignored. Under systemd the credential router-password is taken by itself."`

	User string `env:"MIKROTIK_API_USER" envDefault:"admin" allowed:"printable text without surrounding blanks" example:"doublenat" help:"User of the API. It needs the policies read, write, api and test."`

	TLS string `env:"MIKROTIK_API_TLS" envDefault:"false" allowed:"true, false (also yes, no, on, off, 1, 0) or insecure" example:"true" help:"Speak TLS to the API (service api-ssl). insecure: without looking at the router's certificate. On by itself with one of the two settings below."`

	CAFile string `env:"MIKROTIK_API_CA_FILE" allowed:"path of a file with certificates in PEM form" example:"/etc/doublenat/router-ca.pem" help:"Authorities that may vouch for the router's certificate, or the certificate itself. Empty: those of the system."`

	Fingerprint string `env:"MIKROTIK_API_TLS_FINGERPRINT" allowed:"64 hexadecimal digits, with or without colons" example:"7d5ac9c4f8c9a13b0c3fd4b1a54cd31e9b6e4f1f6b0a8d8f26a4a0c1b2c3d4e5" help:"SHA-256 sum of the router's public key. Without MIKROTIK_API_CA_FILE it alone decides; with it, both must be right."`

	InInterface string `env:"MIKROTIK_IN_INTERFACE" allowed:"name of an interface of the router" example:"wireguard1" help:"The router's tunnel interface. Empty: found from the router's route to VPN_GATEWAY."`

	Listen string `env:"LISTEN_ADDR" envDefault:":5351" conceals:"userinfo" allowed:"IPv4 address and port, or :port for all addresses" example:"192.168.90.2:5351" help:"Where clients are answered."`

	AllowedClients string `env:"ALLOWED_CLIENTS" envDefault:"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,127.0.0.0/8" allowed:"list of IPv4 prefixes and addresses, separated by commas" example:"192.168.88.0/24,192.168.90.7" help:"Who may ask. Requests from others are dropped without an answer."`

	DeniedClients string `env:"DENIED_CLIENTS" allowed:"list of IPv4 prefixes and addresses, separated by commas" example:"192.168.88.64/26" help:"Who may not ask although ALLOWED_CLIENTS has them."`

	ClientRate string `env:"CLIENT_RATE" envDefault:"50" allowed:"number from 0 to 10000" example:"20" help:"Requests of one client a second, four times as many at once. The rest is dropped. 0: no bound."`

	NewClientRate string `env:"NEW_CLIENT_RATE" envDefault:"50" allowed:"number from 0 to 10000" example:"10" help:"Clients a second that were not seen lately and hold no mapping, four times as many at once. It bounds what a flood of forged addresses can do. 0: no bound."`

	AllowedPorts string `env:"ALLOWED_PORTS" envDefault:"1-65535" allowed:"list of ports and ranges of ports, separated by commas" example:"1024-65535" help:"Internal ports that clients may map. Requests for others are refused (result 2)."`

	DeniedPorts string `env:"DENIED_PORTS" allowed:"list of ports and ranges of ports, separated by commas" example:"22,3389,5900-5910" help:"Internal ports that clients may not map although ALLOWED_PORTS has them."`

	ZeroPort string `env:"ZERO_PORT" envDefault:"refuse" allowed:"refuse or external" example:"external" help:"What a request for internal port 0 gets. refuse: result 2, as RFC 6886 has no such mapping. external: a mapping to the client's port of the external one's number, if ALLOWED_PORTS and DENIED_PORTS let it, so that scripts for ProtonVPN work."`

	ReadOnly string `env:"READ_ONLY" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Change nothing on the router or the gateway; log what would be done. Clients are refused (result 2)."`

	DryRun string `env:"DRY_RUN" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Another name of READ_ONLY."`

	Announce string `env:"ANNOUNCE" envDefault:"auto" allowed:"auto, off, on, or on: with a list of interfaces" example:"on:eth0,br0" help:"Multicast changes of the external address to the LAN (RFC 6886 §3.2.1)."`

	GatewayWindow string `env:"GATEWAY_WINDOW" envDefault:"16" allowed:"number from 1 to 256" example:"1" help:"Requests in flight to the gateway at the same time. 1 is the strict order of RFC 6886."`

	Delivery string `env:"GATEWAY_DELIVERY" envDefault:"internal" allowed:"internal, external or both" example:"both" help:"On which port the gateway's packets reach the router: the internal port of the lease (RFC 6886), the external one, or either. It decides what the rules match."`

	Symmetric string `env:"GATEWAY_SYMMETRIC" envDefault:"false" allowed:"true or false (also yes, no, on, off, 1, 0)" example:"true" help:"Lease the one mapping of the tunnel that has the same port on both sides (ProtonVPN), instead of ports by name. One port of one client can be mapped then; others get result 4. The rules match both ports unless GATEWAY_DELIVERY is external."`

	LeasePolicy string `env:"LEASE_POLICY" envDefault:"client" allowed:"client or hold" example:"hold" help:"Who keeps leases alive. client: the client's renewals. hold: doublenat, for as long as the client asked for, also when it comes back late."`

	MaxLifetime string `env:"MAX_LIFETIME" envDefault:"2h" allowed:"duration such as 90m, or seconds, from 1m to 24h" example:"3600" help:"Longest lifetime of a mapping. Longer wishes are cut to it."`

	Companion string `env:"COMPANION" envDefault:"off" allowed:"on or off (also true, false, yes, no, 1, 0)" example:"on" help:"Map UDP too, with the same ports, for a client that asks for TCP alone."`

	MaxMappings string `env:"MAX_MAPPINGS" envDefault:"1024" allowed:"number from 1 to 16384" example:"200" help:"Most mappings in all. TCP and UDP of one port are two."`

	MaxMappingsPerClient string `env:"MAX_MAPPINGS_PER_CLIENT" envDefault:"64" allowed:"number from 1 to 16384" example:"8" help:"Most mappings of one client, its static ones included."`

	Static string `env:"STATIC_MAPPINGS" allowed:"list of tcp|udp|both:IPv4 address:port, each with =external port if one is preferred, separated by commas" example:"tcp:192.168.88.10:8080, both:192.168.88.20:51413=51413" help:"Mappings that doublenat holds itself from start to stop, for hosts that cannot ask."`

	OnChangeURL string `env:"ON_CHANGE_URL" secret:"true" allowed:"http or https URL, with user:password@ if needed" example:"https://hooks.example.com/doublenat" help:"Each change of a mapping or of the external address is sent there as JSON in a POST (docs/events.md)."`

	OnChangeExec string `env:"ON_CHANGE_EXEC" conceals:"arguments" allowed:"absolute path of a program and its arguments, quoted as in a shell" example:"/usr/local/bin/set-port --app 'my app'" help:"Program that is run at each change of a mapping or of the external address (docs/events.md). No shell is involved."`

	Instance string `env:"INSTANCE" envDefault:"default" allowed:"1 to 32 of A-Z a-z 0-9 _ -" example:"proton-nl" help:"Name in the comments of our rules. Two doublenats on one router need two names."`

	Shutdown string `env:"SHUTDOWN" envDefault:"clean" allowed:"clean or keep" example:"keep" help:"On a stop, remove all rules and leases, or keep them for the next start."`

	HTTPAddr string `env:"HTTP_ADDR" conceals:"userinfo" allowed:"address and port, :port for all addresses, or unix: and an absolute path" example:"127.0.0.1:8080" help:"Serve the status page, its JSON, the metrics and the health checks there (docs/monitoring.md). They only show. Empty: nowhere."`

	HTTPHosts string `env:"HTTP_HOSTS" conceals:"userinfo" allowed:"list of host names, separated by commas" example:"nat.example.com" help:"Names under which HTTP_ADDR may be asked for, besides IP addresses, names without a dot, and those of home networks (.local, .lan, .internal, .home.arpa)."`

	PprofAddr string `env:"PPROF_ADDR" conceals:"userinfo" allowed:"loopback address and port" example:"127.0.0.1:6060" help:"Serve profiles for developers there (net/http/pprof). Empty: nowhere."`

	LogLevel string `env:"LOG_LEVEL" envDefault:"INFO" allowed:"DEBUG, INFO, WARN or ERROR, in either case" example:"DEBUG" help:"Least level that is logged. DEBUG shows each request."`

	LogFormat string `env:"LOG_FORMAT" envDefault:"auto" allowed:"auto, text or json" example:"json" help:"Form of log lines. auto: text, in color on a terminal unless NO_COLOR is set."`
}
