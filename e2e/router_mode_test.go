//go:build e2e && linux

package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"doublenat/routeros/routerostest"
)

// realRouter is a RouterOS that is given by address.
type realRouter struct {
	// address is host:port of the service api.
	address string
	// user and password log in.
	user, password string
	// gateway is the VPN gateway, from which doublenat finds the tunnel interface.
	gateway string
	// iface is the tunnel interface, empty if it is to be found.
	iface string
	// instance is the owner name of everything that the examination makes. Nobody
	// else has it.
	instance string
	// spare is a router that nobody depends on: users are made on it for a moment.
	spare bool
	// log gets doublenat's log, nil for nobody.
	log *slog.Logger
}

// newInstance returns an owner name that no doublenat has.
func newInstance(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return "e2e-" + hex.EncodeToString(b)
}

// TestRouter examines the router that E2E_ROUTER names, and prints a report. See
// docs/testing.md.
func TestRouter(t *testing.T) {
	address := os.Getenv(routerVariable)
	if address == "" {
		t.Skip(routerVariable + " names no router")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "8728")
	}
	// Rules must not stay behind when somebody loses patience, or the terminal: what
	// is said to that is lost, and has to be no reason to end.
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Ignore(syscall.SIGPIPE)
	router := realRouter{
		address:  address,
		user:     orElse(os.Getenv("E2E_ROUTER_USER"), "admin"),
		password: os.Getenv("E2E_ROUTER_PASSWORD"),
		gateway:  orElse(os.Getenv("E2E_ROUTER_GATEWAY"), "10.2.0.1"),
		iface:    os.Getenv("E2E_ROUTER_INTERFACE"),
		spare:    os.Getenv("E2E_ROUTER_SPARE") == "yes",
		instance: newInstance(t),
		log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	r, err := examine(ctx, router)
	if r != nil {
		fmt.Fprintf(os.Stdout, "\n%s\n", r) // not through t, which would indent it
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := r.differences(); n > 0 {
		t.Errorf("%d things are not as our test router assumes; please attach the report above to an issue", n)
	}
}

// TestRouterModeOnTestRouter examines the test router itself, which has to be as it
// assumes a router to be, and to be left as it was.
func TestRouterModeOnTestRouter(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	for _, version := range []string{"6.49", "7.12", "7.17", "7.18", "7.22", "7.24 spare"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			version, _, spare := strings.Cut(version, " ")
			router, where := serveTestRouter(t, version)
			if spare {
				where.spare, where.user, where.password = true, routerostest.AdminUser, routerostest.AdminPassword
			}
			if err := router.Set("/system/identity", "", routerostest.Row{"name": "Smith family"}); err != nil {
				t.Fatal(err)
			}
			before := router.Fingerprint(natPath, nil)
			r, err := examine(t.Context(), where)
			if err != nil {
				t.Fatal(err)
			}
			if r.differences() != 0 {
				t.Errorf("the test router is not as it assumes:\n%s", r)
			}
			if after := router.Fingerprint(natPath, nil); string(after) != string(before) {
				t.Errorf("the rules of others were changed:\n%s\nwere:\n%s", after, before)
			}
			for _, table := range []string{"/user", "/user/group", "/ip/firewall/address-list"} {
				for _, row := range router.Rows(table) {
					if strings.Contains(row["name"]+row["list"], "e2e-") {
						t.Errorf("left behind in %s: %v", table, row)
					}
				}
			}
			text := r.String()
			if first := strings.Index(text, questions()[0].text); first < 0 || first > strings.Index(text, "| assumption |") {
				t.Error("the questions do not come first")
			}
			for _, secret := range []string{
				where.password, "192.168.88.", "198.51.100.", "Smith family", "ssh to nas", routerostest.TunnelInterface,
			} {
				if strings.Contains(text, secret) {
					t.Errorf("the report tells %q, which is the owner's:\n%s", secret, text)
				}
			}
			if !strings.Contains(text, "RouterOS "+version) {
				t.Errorf("the report does not name version %s:\n%s", version, text)
			}
		})
	}
}

// TestRouterModeNoticesDifferences examines a router that is not as ours assumes.
func TestRouterModeNoticesDifferences(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	router, where := serveTestRouter(t, "7.22")
	router.Inject(routerostest.Fault{
		Kind: routerostest.FaultTrap, Command: natPath + "/set", Times: -1, Message: "no such luck",
	})
	r, err := examine(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	if r.differences() == 0 || !strings.Contains(r.String(), "no such luck") {
		t.Errorf("the report does not say that a rule cannot be changed:\n%s", r)
	}
}

// TestRouterModeNoticesAnswers examines a router that answers a question in another way.
func TestRouterModeNoticesAnswers(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	router, where := serveTestRouter(t, "7.22")
	router.Inject(routerostest.Fault{Kind: routerostest.FaultUnsettled, Command: natPath + "/add", Times: -1, Delay: 2 * time.Second})
	r, err := examine(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	if text := r.String(); !strings.Contains(text, "| not at all | **otherwise**: for 2") {
		t.Errorf("the report does not say for how long rules read invalid:\n%s", text)
	}
}

// TestRouterModeKeepsTheName examines a router that says more than it should, so
// that whole rules are in the findings. The name of the interface is the owner's.
func TestRouterModeKeepsTheName(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	for _, name := range []string{"Smith", `"Smith" | Söhne`, "<l2tp-Smith>", "Smith (VPN)"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			router, where := serveTestRouter(t, "7.22")
			if err := router.Set("/interface", routerostest.TunnelInterface, routerostest.Row{"name": name}); err != nil {
				t.Fatal(err)
			}
			router.Inject(routerostest.Fault{Kind: routerostest.FaultExtraProperties, Command: natPath + "/print", Times: -1})
			router.Inject(routerostest.Fault{
				Kind: routerostest.FaultTrap, Command: natPath + "/set", Times: -1, Message: fmt.Sprintf("%q is down, %s", name, name),
			})
			r, err := examine(t.Context(), where)
			if err != nil {
				t.Fatal(err)
			}
			text := r.String()
			for _, want := range []string{"in-interface:TUNNEL ", "=in-interface=TUNNEL ", "TUNNEL is down, TUNNEL"} {
				if !strings.Contains(strings.ReplaceAll(text, `"`, ""), want) {
					t.Errorf("the report has no %q", want)
				}
			}
			if strings.Contains(text, "Smith") {
				t.Errorf("the report tells the name of the interface:\n%s", text)
			}
		})
	}
}

// TestRouterModeInterrupted ends the examination early, while rules are there.
func TestRouterModeInterrupted(t *testing.T) {
	t.Parallel()
	if os.Getenv(routerVariable) != "" {
		t.Skip(routerVariable + " names another router")
	}
	for _, after := range []int{0, 1, 4} {
		t.Run(strconv.Itoa(after), func(t *testing.T) {
			t.Parallel()
			router, where := serveTestRouter(t, "7.22")
			before := router.Fingerprint(natPath, nil)
			ctx, interrupt := context.WithCancel(t.Context())
			router.Inject(routerostest.Fault{
				Kind: routerostest.FaultNone, Command: natPath + "/add", Skip: after,
				Do: func(*routerostest.Router) { interrupt() },
			})
			began := time.Now()
			if _, err := examine(ctx, where); !errors.Is(err, context.Canceled) {
				t.Errorf("the examination ends with %v, want %v", err, context.Canceled)
			}
			if took := time.Since(began); took > patience {
				t.Errorf("it took %v to end", took)
			}
			if now := router.Fingerprint(natPath, nil); string(now) != string(before) {
				t.Errorf("left behind:\n%s\nwere:\n%s", now, before)
			}
		})
	}
}

// serveTestRouter runs a test router on loopback until the test ends.
func serveTestRouter(t *testing.T, version string) (*routerostest.Router, realRouter) {
	t.Helper()
	router, err := routerostest.New(routerostest.Config{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	var config net.ListenConfig
	ln, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- router.Serve(context.WithoutCancel(t.Context()), ln) }()
	t.Cleanup(func() {
		if err := errors.Join(router.Close(), <-served); err != nil {
			t.Errorf("router: %v", err)
		}
	})
	return router, realRouter{
		address: ln.Addr().String(), user: routerostest.LeastUser, password: routerostest.LeastPassword,
		gateway: routerostest.GatewayAddress, instance: newInstance(t),
	}
}

// examine runs the flows and probes that need only the API, takes away all that
// they made, and returns the report. An error means that there is none worth
// reading, or that something was left behind.
func examine(ctx context.Context, r realRouter) (rep *report, err error) {
	t, err := newTap(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("connecting with the router: %w", err)
	}
	defer func() { err = errors.Join(err, t.conn.Close()) }()
	before, err := t.strangers(r.instance)
	if err != nil {
		return nil, err
	}
	rep = &report{tap: t, iface: r.iface}
	if rep.about, err = t.whisper("/system/resource/print"); err != nil {
		return nil, err
	}
	defer func() {
		after, lookErr := t.strangers(r.instance)
		if lookErr == nil && !maps.Equal(before, after) {
			lookErr = errors.New("the rules of others changed meanwhile (by others, it is to be hoped)")
		}
		err = errors.Join(err, lookErr)
	}()
	defer func() { err = errors.Join(err, t.sweep(r.instance)) }()
	if err := askAll(ctx, r, rep); err != nil {
		return rep, err
	}
	iface, err := daemonFlows(ctx, r, rep)
	if err != nil {
		return rep, err
	}
	return rep, probeAll(ctx, r, iface, rep)
}

// own returns the rules that carry the mark of an instance.
func (t *tap) own(instance string) ([]map[string]string, error) {
	answer, err := t.whisper(natPath+"/print", "=.proplist=.id,comment,in-interface,dst-port,protocol,to-addresses,to-ports,disabled,action,chain")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(answer.rows(), func(row map[string]string) bool {
		return !strings.HasPrefix(row["comment"], "doublenat:"+instance+" ")
	}), nil
}

// sweep removes all rules that carry the mark of an instance.
func (t *tap) sweep(instance string) error {
	rows, err := t.own(instance)
	for _, row := range rows {
		answer, removeErr := t.whisper(natPath+"/remove", "=.id="+row[".id"])
		if removeErr == nil && answer.trap() != "" {
			removeErr = fmt.Errorf("removing the rule %s: %s", row["comment"], answer.trap())
		}
		err = errors.Join(err, removeErr)
	}
	return err
}

// strangers returns the lasting rules of everybody else by their ids. What
// counts packets is left out.
func (t *tap) strangers(instance string) (map[string]string, error) {
	answer, err := t.whisper(natPath + "/print")
	if err == nil && answer.trap() != "" {
		err = errors.New(answer.trap())
	}
	if err != nil {
		return nil, fmt.Errorf("reading the rules: %w", err)
	}
	all := make(map[string]string)
	for _, row := range answer.rows() {
		if strings.HasPrefix(row["comment"], "doublenat:"+instance+" ") || row["dynamic"] == "true" {
			continue
		}
		delete(row, "bytes")
		delete(row, "packets")
		all[row[".id"]] = fmt.Sprint(row) // maps are printed in the order of their keys
	}
	return all, nil
}

// testNet is the host for which rules are made: it does not exist (RFC 5737).
func testNet(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }

// orElse returns the text, or the other one if it is empty.
func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
