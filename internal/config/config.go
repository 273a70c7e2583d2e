package config

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// Config is everything that an operator can choose, checked and in real types.
// It is made by [Parse] only and is not changed afterwards, so it may be read
// from several goroutines.
type Config struct {
	// GatewayKind says how ports come from beyond the router (VPN_GATEWAY).
	GatewayKind GatewayKind
	// Gateway is the gateway's address (VPN_GATEWAY), IPv4; the zero value with a pool, and
	// where it is that of the router's default route, see [Config.FindsGateway].
	Gateway netip.AddrPort
	// Description is the URL at which a device of UPnP describes itself; empty if it is
	// searched for at Gateway.
	Description string
	// Pool has the ports of a pool (VPN_GATEWAY or GATEWAY_POOL_FILE); nil without one.
	Pool *nat.Pool
	// PoolFile is where they came from (GATEWAY_POOL_FILE), empty for VPN_GATEWAY.
	PoolFile string
	// PublicAddress is the one at which a pool is reached (PUBLIC_ADDRESS). The zero
	// Addr means that it is looked for.
	PublicAddress netip.Addr
	// STUNServer is asked for that address where nobody else knows it (STUN_SERVER). The
	// zero Endpoint means that nobody is asked; the port is never 0 otherwise.
	STUNServer Endpoint
	// GatewayWindow is how many requests may be in flight to the gateway at the
	// same time (GATEWAY_WINDOW), from 1 to 256. 1 is the strict order of RFC 6886 §3.1.
	GatewayWindow int
	// Delivery is the port on which the gateway's packets reach the router (GATEWAY_DELIVERY).
	Delivery nat.Delivery
	// Symmetric leases the tunnel's one mapping with the same port on both sides
	// (GATEWAY_SYMMETRIC). Static mappings then are of one client port at most.
	Symmetric bool

	// Router is where the router's API listens (MIKROTIK_API_ADDRESS). The port is never 0.
	Router Endpoint
	// RouterUser is the router's user (MIKROTIK_API_USER), never empty.
	RouterUser string
	// RouterPassword belongs to RouterUser: MIKROTIK_API_PASSWORD, the contents of
	// MIKROTIK_API_PASSWORD_FILE, or a credential of systemd. It may be the empty
	// password.
	RouterPassword routeros.Secret
	// RouterTLS says whether the API is spoken over TLS (MIKROTIK_API_TLS).
	RouterTLS bool
	// RouterInsecure takes any certificate for the router's (MIKROTIK_API_TLS=insecure).
	RouterInsecure bool
	// RouterCA vouches for the router (MIKROTIK_API_CA_FILE). Nil means the system's
	// authorities, unless there is a fingerprint.
	RouterCA *x509.CertPool
	// RouterFingerprint is of the router's key (MIKROTIK_API_TLS_FINGERPRINT). The
	// zero value means any.
	RouterFingerprint Fingerprint
	// InInterface is the router's tunnel interface (MIKROTIK_IN_INTERFACE). Empty
	// means that it is found from the router's route to the gateway.
	InInterface string

	// Listen is where clients are answered (LISTEN_ADDR), always IPv4; the address
	// 0.0.0.0 means all addresses of this host. The port is never 0.
	Listen netip.AddrPort
	// AllowedClients are the networks whose hosts may ask (ALLOWED_CLIENTS), never
	// empty, IPv4, in the order in which they were given.
	AllowedClients []netip.Prefix
	// DeniedClients are networks inside AllowedClients whose hosts may not ask
	// (DENIED_CLIENTS). Nil means none.
	DeniedClients []netip.Prefix
	// ClientRate is how many requests of one client are let in a second
	// (CLIENT_RATE), NewClientRate how many clients that are new (NEW_CLIENT_RATE).
	// 0 means no bound.
	ClientRate, NewClientRate int
	// CreateRate is how many new mappings all clients together may make in a second
	// (CREATE_RATE). 0 means no bound.
	CreateRate int
	// AllowedPorts are the internal ports that clients may map (ALLOWED_PORTS), never empty.
	AllowedPorts []PortRange
	// DeniedPorts are those among them that they may not (DENIED_PORTS). Nil means none.
	DeniedPorts []PortRange
	// ZeroPort grants requests for internal port 0 (ZERO_PORT=external).
	ZeroPort bool
	// PCP answers PCP too (PCP=on), StrictNonce with the nonces of RFC 6887 §11.3
	// (PCP_NONCE=strict).
	PCP, StrictNonce bool
	// UPnP is where an Internet gateway device of UPnP serves its descriptions and is
	// controlled, by TCP (UPNP=on, UPNP_ADDR), always IPv4. The zero value is none.
	UPnP netip.AddrPort
	// ReadOnly keeps doublenat from changing anything (READ_ONLY or DRY_RUN).
	ReadOnly bool
	// Announce says where changes of the external address are multicast (ANNOUNCE).
	Announce Announce

	// LeasePolicy says who keeps leases alive (LEASE_POLICY).
	LeasePolicy nat.LeasePolicy
	// MaxLifetime cuts the lifetimes that clients ask for (MAX_LIFETIME), in whole
	// seconds, from a minute to a day.
	MaxLifetime time.Duration
	// Companion maps UDP too for a client that asks for TCP alone (COMPANION).
	Companion bool
	// MaxMappings bounds the mappings in all, MaxMappingsPerClient those of each
	// client (MAX_MAPPINGS, MAX_MAPPINGS_PER_CLIENT); both are at least 1.
	MaxMappings, MaxMappingsPerClient int
	// Static are the mappings that doublenat holds itself (STATIC_MAPPINGS), each
	// key once, in the order given. They fit the two limits. Nil means none.
	Static []StaticMapping

	// OnChangeURL is told of changes (ON_CHANGE_URL): an absolute http or https URL,
	// secret because it may hold credentials. The empty text means nobody.
	OnChangeURL routeros.Secret
	// OnChangeExec is run at changes (ON_CHANGE_EXEC): the absolute path of a program
	// and its arguments. Nil means nothing.
	OnChangeExec []string

	// Instance is the owner name in the comments of our rules (INSTANCE).
	Instance string
	// Shutdown says what a stop leaves behind (SHUTDOWN); with a shared lock it is ShutdownKeep.
	Shutdown Shutdown
	// Lock says how several doublenats agree on which of them is active (LOCK and LOCK_…).
	Lock Lock

	// HTTP is where the status page, metrics and health checks are served (HTTP_ADDR).
	// The zero value means nowhere.
	HTTP ListenAddress
	// HTTPHosts are names under which they may be asked for besides those that only
	// a home network can have (HTTP_HOSTS), in lower case. Nil means none.
	HTTPHosts []string

	// Pprof is where profiles are served (PPROF_ADDR), on loopback. The zero value
	// means nowhere.
	Pprof netip.AddrPort
	// LogLevel is the least level that is logged (LOG_LEVEL).
	LogLevel slog.Level
	// LogFormat says how log lines look (LOG_FORMAT).
	LogFormat LogFormat

	// Warnings are things about the environment that are worth a look but stop
	// nothing, as a variable that looks misspelled. They are for the log, hold no
	// secret, and are nil when there is nothing to say.
	Warnings []string
}

// Shutdown says what happens to rules and leases when doublenat stops.
type Shutdown string

// The two ways to stop.
const (
	// ShutdownClean removes all rules and gives all leases back.
	ShutdownClean Shutdown = "clean"
	// ShutdownKeep leaves both standing; the next start adopts them.
	ShutdownKeep Shutdown = "keep"
)

// LogFormat is the form of log lines.
type LogFormat string

// The log formats.
const (
	// LogAuto is text, in color when the log is a terminal.
	LogAuto LogFormat = "auto"
	// LogText is text without color.
	LogText LogFormat = "text"
	// LogJSON is one JSON object a line.
	LogJSON LogFormat = "json"
)

// AnnounceMode says whether announcements are sent (RFC 6886 §3.2.1).
type AnnounceMode string

// The announce modes.
const (
	// AnnounceAuto announces on the interfaces where clients can hear it.
	AnnounceAuto AnnounceMode = "auto"
	// AnnounceOn announces always.
	AnnounceOn AnnounceMode = "on"
	// AnnounceOff never announces.
	AnnounceOff AnnounceMode = "off"
)

// Announce says where changes of the external address are told to all hosts of
// a network (RFC 6886 §3.2.1).
type Announce struct {
	// Mode is auto, on or off.
	Mode AnnounceMode
	// Interfaces names this host's interfaces to announce on, in the order given
	// and without repetition. Nil means that they are chosen; it is set with [AnnounceOn] only.
	Interfaces []string
}

// String returns the value as ANNOUNCE takes it.
func (a Announce) String() string {
	if len(a.Interfaces) == 0 {
		return string(a.Mode)
	}
	return string(a.Mode) + ":" + strings.Join(a.Interfaces, ",")
}
