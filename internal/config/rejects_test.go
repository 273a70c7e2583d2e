package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/config"
)

// nonsense holds values that each variable must reject, with a piece of the reason.
var nonsense = map[string][][2]string{
	"VPN_GATEWAY": {
		{"10.2.0", "not an IP address"},
		{"gateway.lan", "not an IP address"},
		{"fd00::1", "IPv6"},
		{"[fd00::1]:5351", "IPv6"},
		{"[10.2.0.1]", "brackets"},
		{"0.0.0.0", "one host"},
		{"224.0.0.1", "one host"},
		{"255.255.255.255", "one host"},
		{"10.2.0.1:0", `port "0"`},
		{"10.2.0.1:", `port ""`},
		{"10.2.0.1:65536", `port "65536"`},
		{"10.2.0.1:+1", `port "+1"`},
		{"10.2.0.1 ", "not an IP address"},
		{"10.2.0.1:1:2", "host:port"},
		{"admin:s3cretpw@10.2.0.1", "a user name before an @"},
		{"natpmp://gateway", "not an IP address"},
		{"natpmp://admin:s3cretpw@10.2.0.1", "a user name before an @"},
		{"upnp://10.2.0.1", `the kind "upnp"`},
		{"pcp://gateway", "not an IP address"},
		{"igd://[fd00::1]", "IPv6"},
		{"igd+http://box.lan/desc.xml", "not an IP address"},
		{"igd+http://admin:s3cretpw@192.168.1.1/", "a user name before an @"},
		{"igd+http:///rootDesc.xml", "is not a URL such as"},
		{"auto://192.168.1.1:1", "has a port"},
		{"auto://gateway", "not an IP address"},
		{"auto:192.168.1.1", "has no // between auto: and the address"},
		{"pool:", "no port in it"},
		{"pool:0", `"0" in it, which is not a port`},
		{"pool:1-65536", `"1-65536" in it`},
		{"pool:80/sctp", "tcp or udp"},
		{"pool:80:", "two sides of the colon"},
		{"pool:80-90:8080-8089", "two sides of the colon"},
		{"pool:80,80/tcp", "a port in it twice"},
		{"pool:80:1,81:1", "arrive at port 1"},
		{"pool:1-65535", "more than 16384 ports"},
		{"pool:80%", "not an interface name"},
		{"pool:80%\x01", "not an interface name"},
	},
	"GATEWAY_POOL_FILE": {{"/no/such/file", "cannot be read"}},
	"PUBLIC_ADDRESS": {
		{"x", "not an IP address"},
		{"2001:db8::1", "IPv6"},
		{"0.0.0.0", "one host"},
	},
	"STUN_SERVER": {
		{"stun:203.0.113.7", "has stun: before it"},
		{"203.0.113.7:0", `port "0"`},
		{"[2001:db8::1]:3478", "is IPv6"},
		{"0.0.0.0", "one host"},
		{"me:s3cretpw@203.0.113.7", "a user name before an @"},
		{"203.0.113", "neither a host name"},
	},
	"MIKROTIK_API_ADDRESS": {
		{"http://192.168.88.1", "URL"},
		{"192.168.88", "neither a host name"},
		{"192.168.88.1.1", "neither a host name"},
		{"192.168.88.1:99999", `port "99999"`},
		{"router..lan", "neither a host name"},
		{"-router", "neither a host name"},
		{"router-", "neither a host name"},
		{"my router", "neither a host name"},
		{"ｒouter", "neither a host name"},
		{":8728", "neither a host name"},
		{"[fd00::1", "host:port"},
		{"[]", "brackets"},
		{"fd00::1::2", "host:port"},
		{"fe80::1%]", "zone"},
		{strings.Repeat("a", 64), "neither a host name"},
		{strings.Repeat("a.", 128), "longer"},
		{"0.0.0.0", "one host"},
		{"224.0.0.1:8728", "one host"},
		{"255.255.255.255", "one host"},
		{"::", "one host"},
		{"[ff02::1]:8728", "one host"},
		{"::ffff:0.0.0.0", "one host"},
		{"admin:s3cretpw@host", "a user name before an @"},
		{"admin:s3cret:pw@host:8728", "a user name before an @"},
		{"s3cretpw@", "a user name before an @"},
		{"https://admin:s3cretpw@host", "URL"},
	},
	"MIKROTIK_API_PASSWORD_FILE": {{"/no/such/file", "cannot be read"}},
	"MIKROTIK_API_USER":          {{" admin", "blanks"}, {"ad\nmin", "cannot be printed"}},
	"MIKROTIK_API_TLS":           {{"ja", "neither true, false nor insecure"}, {"2", "neither true, false"}, {" true", "neither"}},
	"MIKROTIK_API_CA_FILE":       {{"/no/such/file", "cannot be read"}},
	"MIKROTIK_API_TLS_FINGERPRINT": {
		{"a5", "64 hexadecimal digits"},
		{strings.Repeat("g", 64), "64 hexadecimal digits"},
		{strings.Repeat("a", 66), "64 hexadecimal digits"},
		{strings.Repeat("0", 64), "all zeros"},
		{strings.Repeat("00:", 31) + "00", "all zeros"},
	},
	"MIKROTIK_IN_INTERFACE": {
		{"!wireguard1", "one interface"},
		{"wg0,wg1", "one interface"},
		{" wg0", "one interface"},
		{"wg\x000", "one interface"},
		{strings.Repeat("w", 65), "one interface"},
	},
	"LISTEN_ADDR": {
		{"5351", "not an IP address and port"},
		{"192.168.88.2", "no port"},
		{"localhost:5351", "not an IP address"},
		{":0", `port "0"`},
		{":", `port ""`},
		{":natpmp", `port "natpmp"`},
		{"[::]:5351", "IPv6"},
		{"224.0.0.1:5351", "one host"},
		{"255.255.255.255:5351", "one host"},
		{"admin:s3cretpw@192.168.88.2:5351", "a user name before an @"},
		{"10.2.0.1:5351", "VPN_GATEWAY"},
	},
	"ALLOWED_CLIENTS": {
		{"lan", `"lan"`},
		{"192.168.88.0/33", `"192.168.88.0/33"`},
		{"192.168.88.0/24,", `""`},
		{"192.168.88.0/24;10.0.0.0/8", "not an IPv4 prefix"},
		{"fd00::/8", "IPv6"},
		{"192.168.88.7/24", "that network is 192.168.88.0/24, that host is 192.168.88.7"},
	},
	"DENIED_CLIENTS": {
		{"all", `"all"`},
		{"::1", "IPv6"},
		{"0.0.0.0/0", "nobody may ask"},
		{"0.0.0.0/1,128.0.0.0/2,192.0.0.0/2", "nobody may ask"},
		{"10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,172.16.0.0/13,172.24.0.0/13,192.168.0.0/16", "nobody may ask"},
	},
	"CLIENT_RATE":     {{"-1", "0 to 10000"}, {"10001", "0 to 10000"}, {"50/s", "0 to 10000"}},
	"NEW_CLIENT_RATE": {{"1.5", "0 to 10000"}},
	"CREATE_RATE":     {{"ten", "0 to 10000"}},
	"ALLOWED_PORTS": {
		{"0", `"0"`},
		{"65536", `"65536"`},
		{"1024-", `"1024-"`},
		{"20-10", "ends before it begins"},
		{"80,,443", `""`},
		{"http", `"http"`},
	},
	"DENIED_PORTS": {{"-1", `"-1"`}},
	"READ_ONLY":    {{"ja", "neither true nor false"}},
	"DRY_RUN":      {{"maybe", "neither true nor false"}},
	"HTTP_ADDR": {
		{"127.0.0.1", "no port"},
		{"8080", "is a port alone: write :8080 for every address of this host, or 127.0.0.1:8080 for this host only"},
		{"127.0.0.1:0", "not from 1 to 65535"},
		{"nat.lan:8080", "not an IP address and port"},
		{"unix:run/http.sock", "no absolute path"},
		{"unix:/run/../etc/x", "no absolute path"},
		{"unix:/", "no absolute path"},
		{"unix:/" + strings.Repeat("x", 103), "more than 103 bytes"},
		{"unix:/a\x00b", "zero byte"},
		{"224.0.0.1:8080", "one host"},
		{"255.255.255.255:8080", "one host"},
		{"admin:s3cretpw@127.0.0.1:8080", "a user name before an @"},
	},
	"HTTP_HOSTS": {
		{"nat lan", `"nat lan"`},
		{"a,,b", `""`},
		{"admin:s3cretpw@nat.lan", `".....@nat.lan"`},
	},
	"PPROF_ADDR": {
		{":6060", "not an IP address"},
		{"0.0.0.0:6060", "not a loopback address"},
		{"192.168.88.2:6060", "not a loopback address"},
		{"127.0.0.1:0", "no port"},
		{"localhost:6060", "not an IP address"},
		{"admin:s3cretpw@127.0.0.1:6060", "not an IP address"},
	},
	"ANNOUNCE": {
		{"yes", "none of auto, off and on"},
		{"auto:eth0", "with on only"},
		{"off:", "with on only"},
		{"on:", `""`},
		{"on:eth0,,br0", `""`},
		{"on:sixteen-letters-", "cannot be an interface"},
		{"on:eth0 br0", "cannot be an interface"},
		{"on:a/b", "cannot be an interface"},
	},
	"GATEWAY_WINDOW":          {{"0", "1 to 256"}, {"257", "1 to 256"}, {"-1", "1 to 256"}, {"16.0", "1 to 256"}, {"many", "1 to 256"}},
	"GATEWAY_DELIVERY":        {{"outer", "none of internal, external and both"}},
	"GATEWAY_SYMMETRIC":       {{"port", "neither true nor false"}},
	"PCP":                     {{"yes", "neither off nor on"}, {"1", "neither off nor on"}},
	"UPNP":                    {{"igd", "neither off nor on"}},
	"UPNP_ADDR":               {{"5351", ""}, {":0", "not from 1 to 65535"}, {"[::1]:5351", "IPv6"}, {"239.255.255.250:1900", ""}, {"router:5351", "not an IP address"}},
	"PCP_NONCE":               {{"off", "neither lenient nor strict"}},
	"ZERO_PORT":               {{"allow", "neither refuse nor external"}, {"0", "neither refuse nor external"}},
	"LEASE_POLICY":            {{"keep", "neither auto nor client nor hold"}},
	"MAX_LIFETIME":            {{"59s", "1m to 24h"}, {"25h", "1m to 24h"}, {"1h0.5s", "whole seconds"}, {"-1", "1m to 24h"}, {"two hours", "duration"}, {"99999999999999999999", "duration"}},
	"COMPANION":               {{"both", "neither true nor false"}},
	"MAX_MAPPINGS":            {{"0", "1 to 16384"}, {"16385", "1 to 16384"}, {"all", "1 to 16384"}},
	"MAX_MAPPINGS_PER_CLIENT": {{"0", "1 to 16384"}, {"1e3", "1 to 16384"}},
	"STATIC_MAPPINGS": {
		{"192.168.88.10:8080", "tcp, udp or both"},
		{"sctp:192.168.88.10:8080", "tcp, udp or both"},
		{"tcp:192.168.88.10", "IPv4 address and port"},
		{"tcp:255.255.255.255:80", "IPv4 address and port"},
		{"tcp:10.2.0.1:80", "VPN_GATEWAY"},
		{"both:192.168.88.1:80", "the router (MIKROTIK_API_ADDRESS)"},
		{"tcp:127.0.0.1:80", "loopback"},
		{"tcp:192.168.88.10:80, udp:127.1.2.3:80=80", "has udp:127.1.2.3:80=80 in it"},
		{"udp:192.168.88.10:5351", "a port of NAT-PMP"},
		{"both:192.168.88.10:5350", "a port of NAT-PMP"},
		{"tcp:nas.lan:80", "address and port"},
		{"tcp:[fd00::1]:80", "address and port"},
		{"tcp:0.0.0.0:80", "address and port"},
		{"tcp:224.0.0.1:80", "address and port"},
		{"tcp:192.168.88.10:0", "address and port"},
		{"tcp:192.168.88.10:80=", "external port"},
		{"tcp:192.168.88.10:80=0", "external port"},
		{"tcp:192.168.88.10:80=70000", "external port"},
		{"tcp:192.168.88.10:80,", "tcp, udp or both"},
		{"tcp:192.168.88.10:80,both:192.168.88.10:80", "twice"},
	},
	"ON_CHANGE_EXEC": {
		{"notify", "absolute path"},
		{"./notify", "absolute path"},
		{"/bin/echo 'a", "quote that does not end"},
		{`/bin/echo "a`, "quote that does not end"},
		{`/bin/echo a\`, "backslash at the end"},
		{"'' a", "absolute path"},
		{" ", "absolute path"},
		{"/bin/echo \x00", "cannot be printed"},
		{"TOKEN=s3cretpw /bin/notify", "absolute path"},
		{"/bin/notify --token 's3cretpw", "quote that does not end"},
		{"/bin/notify\t--token\ts3cretpw", "cannot be printed"},
	},
	"INSTANCE":      {{strings.Repeat("x", 33), "32"}, {"nl 1", "A-Z"}, {"nl;1", "A-Z"}, {"é", "A-Z"}},
	"LOCK":          {{"etcd", "none of none, router and kubernetes"}},
	"LOCK_LEASE":    {{"5s", "6s to 5m"}, {"301", "6s to 5m"}, {"6.5s", "whole seconds"}, {"soon", "duration"}},
	"LOCK_NAME":     {{strings.Repeat("x", 64), "63"}, {"pi 1", "A-Z"}, {"pi/1", "A-Z"}, {"é", "A-Z"}},
	"LOCK_REDIRECT": {{"maybe", "none of auto, on and off"}},
	"SHUTDOWN":      {{"dirty", "neither clean nor keep"}},
	"LOG_LEVEL":     {{"TRACE", "log level"}, {"INFO+2", "log level"}, {"0", "log level"}},
	"LOG_FORMAT":    {{"xml", "none of auto, text and json"}},
}

func TestParseRejectsNonsense(t *testing.T) {
	t.Parallel()
	for _, v := range config.Reference() {
		if v.Secret {
			continue // every text is a password, and the others' tests are their own
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if len(nonsense[v.Name]) == 0 {
				t.Fatal("no nonsense for this variable in the table")
			}
			for _, c := range nonsense[v.Name] {
				rejects(t, v, c[0], c[1])
			}
		})
	}
}

// rejects checks that the value is refused by exactly one error, which names the
// variable, the value, the reason, what is allowed and an example.
func rejects(t *testing.T, v config.Variable, text, reason string) {
	t.Helper()
	environ := minimal(v.Name, text)
	if v.Name == "MIKROTIK_API_PASSWORD_FILE" {
		delete(environ, "MIKROTIK_API_PASSWORD")
	}
	if v.Name == "GATEWAY_POOL_FILE" {
		environ["VPN_GATEWAY"] = "pool:%ether1"
	}
	got, err := config.Parse(environ, noFile)
	if err == nil {
		t.Errorf("%s=%q was accepted", v.Name, text)
		return
	}
	if diff := cmp.Diff(config.Config{}, got, compare); diff != "" {
		t.Errorf("%s=%q: a config beside the error: %s", v.Name, text, diff)
	}
	var one *config.Error
	if !errors.As(err, &one) {
		t.Fatalf("%s=%q: %T is not an *Error", v.Name, text, err)
	}
	if shown := v.Shown(text); strings.Contains(err.Error(), "s3cret") || !strings.Contains(text, "s3cret") && v.Conceals != config.ConcealArguments && shown != text {
		t.Errorf("%s=%q: shown as %q in %v", v.Name, text, shown, err)
	}
	if one.Variable.Name != v.Name || one.Value != v.Shown(text) || !strings.Contains(one.Reason, reason) {
		t.Errorf("%s=%q: got %s=%q %s, want reason %q", v.Name, text, one.Variable.Name, one.Value, one.Reason, reason)
	}
	line := err.Error()
	if strings.Contains(line, "\n") {
		t.Errorf("%s=%q: more than one error: %s", v.Name, text, line)
	}
	for _, part := range []string{v.Name + "=", "allowed: " + v.Allowed, "example: " + v.Name + "=" + v.Example} {
		if !strings.Contains(line, part) {
			t.Errorf("%s=%q: %q lacks %q", v.Name, text, line, part)
		}
	}
}

// A hook's URL is a secret as a whole, so that its reasons are all that is told.
func TestParseRejectsURLs(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"x.lan":                                "not an absolute URL",
		"http:///path":                         "not an absolute URL",
		"http://user:s3cretpw@":                "not an absolute URL",
		"ftp://x.lan/":                         "neither an http nor an https URL",
		"http://x.lan/#s3cretpw":               "fragment",
		"http://x.lan:99999/":                  "a port that is not from 1 to 65535",
		"http://user:s3cretpw@x.lan:0":         "a port that is not from 1 to 65535",
		"http://0.0.0.0/s3cretpw":              "no host that could listen",
		"https://224.0.0.1:8080/":              "no host that could listen",
		"https://[ff02::1]/":                   "no host that could listen",
		"http://user:s3cretpw@x.lan:port/":     "not an absolute URL",
		"http://user:s3cretpw@255.255.255.255": "no host that could listen",
	} {
		_, err := config.Parse(minimal("ON_CHANGE_URL", text), noFile)
		if err == nil || !strings.Contains(err.Error(), "ON_CHANGE_URL=\".....\" ") || !strings.Contains(err.Error(), reason) ||
			!strings.Contains(err.Error(), "example: ON_CHANGE_URL=") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want the reason %q", text, err, reason)
		}
	}
}

// What is odd for one network is right for another.
func TestParseAcceptsTheLikeOfNonsense(t *testing.T) {
	t.Parallel()
	for _, pairs := range [][]string{
		{"STATIC_MAPPINGS", "tcp:127.0.0.1:80", "MIKROTIK_API_ADDRESS", "127.88.0.1"},
		{"STATIC_MAPPINGS", "tcp:127.0.0.1:80", "MIKROTIK_API_ADDRESS", "localhost:1"},
		{"STATIC_MAPPINGS", "udp:127.0.0.1:80", "MIKROTIK_API_ADDRESS", "[::1]:1"},
		{"STATIC_MAPPINGS", "tcp:192.168.88.10:5351, tcp:192.168.88.10:5350=5350"},
		{"DENIED_CLIENTS", "10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,172.16.0.0/12,192.168.0.0/17"},
		{"DENIED_CLIENTS", "192.168.88.0/25,192.168.88.128/26,192.168.88.192/27", "ALLOWED_CLIENTS", "192.168.88.0/24"},
		{"HTTP_ADDR", "unix:/run/a@b.sock"},
		{"HTTP_ADDR", "0.0.0.0:8080"},
		{"LISTEN_ADDR", "0.0.0.0:5351"},
		{"ON_CHANGE_URL", "http://x.lan:/"},
		{"MIKROTIK_API_TLS_FINGERPRINT", strings.Repeat("0", 63) + "1"},
		{"MIKROTIK_API_USER", "admin@site"},
	} {
		if _, err := config.Parse(minimal(pairs...), noFile); err != nil {
			t.Errorf("%v: %v", pairs, err)
		}
	}
}

func TestParseReportsAllErrors(t *testing.T) {
	t.Parallel()
	environ := make(map[string]string)
	var want []string
	for _, v := range config.Reference() {
		switch {
		case v.Name == "ON_CHANGE_URL":
			environ[v.Name] = "no url"
			want = append(want, v.Name)
		case v.Secret:
			want = append(want, v.Name) // missing
		case v.Name == "MIKROTIK_API_PASSWORD_FILE", v.Name == "GATEWAY_POOL_FILE": // read where they count
		default:
			environ[v.Name] = nonsense[v.Name][0][0]
			want = append(want, v.Name)
		}
	}
	_, err := config.Parse(environ, noFile)
	if err == nil {
		t.Fatal("accepted")
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T joins nothing", err)
	}
	got := make(map[string]bool)
	for _, one := range joined.Unwrap() {
		var e *config.Error
		if !errors.As(one, &e) {
			t.Fatalf("%v is no *Error", one)
		}
		got[e.Variable.Name] = true
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("nothing said about %s", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d variables named, want %d: %v", len(got), len(want), err)
	}
}

func TestParseRequired(t *testing.T) {
	t.Parallel()
	for _, environ := range []map[string]string{nil, {}, {"VPN_GATEWAY": "", "MIKROTIK_API_ADDRESS": ""}} {
		_, err := config.Parse(environ, noFile)
		want := []string{
			"VPN_GATEWAY is not set; allowed: IPv4 address, with or without natpmp://, pcp://, igd:// or auto:// before it and :port behind it; auto: alone; igd+http:// and the URL of a description; or pool: and a list of ports; example: VPN_GATEWAY=10.2.0.1",
			"MIKROTIK_API_ADDRESS is not set; allowed: host name or IP address, with or without :port; example: MIKROTIK_API_ADDRESS=192.168.88.1",
			"MIKROTIK_API_PASSWORD is not set, nor is MIKROTIK_API_PASSWORD_FILE; allowed: text; set and empty for a user without a password; example: MIKROTIK_API_PASSWORD=correct horse",
		}
		if err == nil {
			t.Fatal("accepted")
		}
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	known := make(map[string]config.Variable)
	for _, v := range config.Reference() {
		known[v.Name] = v
	}
	for _, tt := range []struct{ name, text, want string }{
		{"MIKROTIK_API_PASSWORD", "s3cret", "....."},
		{"MIKROTIK_API_PASSWORD", "", ""},
		{"MIKROTIK_API_ADDRESS", "router.lan:8728", "router.lan:8728"},
		{"MIKROTIK_API_ADDRESS", "a:b@c@router.lan", ".....@router.lan"},
		{"HTTP_ADDR", "unix:/run/a@b.sock", "unix:/run/a@b.sock"},
		{"MIKROTIK_API_USER", "admin@site", "admin@site"},
		{"ON_CHANGE_EXEC", "/bin/notify", "/bin/notify"},
		{"ON_CHANGE_EXEC", "/bin/notify a", "/bin/notify and 1 argument"},
		{"ON_CHANGE_EXEC", "'/bin/no tify' 'a b' c", "/bin/no tify and 2 arguments"},
		{"ON_CHANGE_EXEC", "/bin/notify 'a", "/bin/notify ....."},
		{"ON_CHANGE_EXEC", "/bin/notify\x00a", "....."},
		{"ON_CHANGE_EXEC", "notify a", "....."},
	} {
		if got := known[tt.name].Shown(tt.text); got != tt.want {
			t.Errorf("%s=%q is shown as %q, want %q", tt.name, tt.text, got, tt.want)
		}
	}
}
