package igdtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Serve answers HTTP until ctx ends; it then returns nil once nothing of it is left
// running. The listener is closed.
func (g *Gateway) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	g.mu.Lock()
	g.at = addressOf(ln.Addr())
	g.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a connection: %w", err)
		}
		g.mu.Lock()
		g.stats.Connections++
		g.mu.Unlock()
		wg.Go(func() { g.converse(ctx, conn) })
	}
}

// converse answers the requests of a connection.
func (g *Gateway) converse(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return
		}
		p := g.Profile()
		if !wait(ctx, p.ServiceTime) {
			return
		}
		if p.Silent {
			listen(in)
			return
		}
		head, content := g.answer(addressOf(conn.RemoteAddr()).Addr(), req, body)
		if p.LoseAnswers > 0 && req.Method == http.MethodPost && g.loses(p.LoseAnswers) {
			if p.HangAnswers {
				listen(in)
			}
			return
		}
		if p.write(conn, head, content) != nil || p.Wire.Close || p.Wire.Open || req.Close {
			return
		}
	}
}

// listen takes in what comes, and says nothing, until the other end is gone.
func listen(in io.Reader) { _, _ = io.Copy(io.Discard, in) } // Its end is an error.

// loses says whether this answer is one that gets lost.
func (g *Gateway) loses(every int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost++
	return g.lost%every == 0
}

// answer returns the status line and the headers of the answer, and its body.
func (g *Gateway) answer(from netip.Addr, req *http.Request, body []byte) (head []string, content []byte) {
	p := g.Profile()
	status, content := g.content(from, req, body)
	if req.Method == http.MethodPost && p.Status != 0 {
		status = p.Status
	}
	if p.Redirect != "" {
		return []string{"HTTP/1.1 302 Found", "Location: " + p.Redirect}, nil
	}
	return []string{
		fmt.Sprintf("HTTP/1.1 %d %s", status, http.StatusText(status)), `Content-Type: text/xml; charset="utf-8"`,
		"Server: igdtest UPnP/1.1 igdtest/1", "EXT:",
	}, content
}

// content returns the status and the body of the answer.
func (g *Gateway) content(from netip.Addr, req *http.Request, body []byte) (int, []byte) {
	p := g.Profile()
	switch req.URL.Path {
	case pathDescription:
		g.mu.Lock()
		g.stats.Descriptions++
		g.mu.Unlock()
		if p.Description != nil {
			return http.StatusOK, p.Description()
		}
		return http.StatusOK, []byte(p.description())
	case pathSCPD:
		return http.StatusOK, []byte(`<scpd xmlns="urn:schemas-upnp-org:service-1-0"></scpd>`)
	case pathControlIP, pathControlPPP:
		return g.control(p, from, req, body)
	default:
		return http.StatusNotFound, nil
	}
}

// control returns the answer to an action.
func (g *Gateway) control(p Profile, from netip.Addr, req *http.Request, body []byte) (int, []byte) {
	c, ok := parseCall(body)
	asked := strings.Trim(req.Header.Get("Soapaction"), `"`)
	if req.Method != http.MethodPost || !ok || asked != c.service+"#"+c.action {
		return http.StatusBadRequest, nil
	}
	c.from = from
	began := time.Now()
	out, code := g.carryOut(c)
	if g.cfg.OnAction != nil {
		g.cfg.OnAction(c.told(out, code, began))
	}
	if g.cfg.OnChange != nil {
		g.cfg.OnChange()
	}
	switch {
	case p.Response != nil:
		return http.StatusOK, p.Response()
	case code != 0:
		return http.StatusInternalServerError, []byte(p.fault(code))
	default:
		return http.StatusOK, []byte(p.response(c, out))
	}
}

// write sends an answer as the profile has it.
func (p Profile) write(w io.Writer, head []string, content []byte) error {
	wire, end := p.Wire, "\r\n"
	if wire.BareLF {
		end = "\n"
	}
	if wire.Padding > 0 {
		head = append(head, "X-Padding: "+strings.Repeat("x", wire.Padding))
	}
	switch {
	case wire.Chunked:
		head = append(head, "Transfer-Encoding: chunked")
		half := len(content) / 2
		content = fmt.Appendf(nil, "%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n", half, content[:half], len(content)-half, content[half:])
		if half == 0 {
			content = []byte("0\r\n\r\n")
		}
	case wire.Open:
	default:
		head = append(head, fmt.Sprintf("Content-Length: %d", len(content)))
	}
	if wire.Close || wire.Open {
		head = append(head, "Connection: close")
	}
	_, err := w.Write(append([]byte(strings.Join(head, end)+end+end), content...))
	return err
}

// ServeSearch answers searches until ctx ends, and then returns nil. The socket stays
// the caller's.
func (g *Gateway) ServeSearch(ctx context.Context, conn net.PacketConn) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a search: %w", err)
		}
		reply := g.searched(string(buf[:n]))
		p := g.Profile()
		copies := 1 + p.SearchCopies
		if reply == "" {
			copies = 0
		}
		for range copies {
			wg.Go(func() {
				if wait(ctx, p.SearchDelay) {
					// UDP: what cannot be sent got lost.
					_, _ = conn.WriteTo([]byte(reply), from)
				}
			})
		}
	}
}

// searched returns the answer to a search, "" for none.
func (g *Gateway) searched(packet string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Searches++
	var target string
	for line := range strings.Lines(packet) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "ST") {
			target = strings.TrimSpace(value)
		}
	}
	p := &g.profile
	if !strings.HasPrefix(packet, "M-SEARCH * HTTP/1.1\r\n") || !strings.Contains(packet, `"ssdp:discover"`) || !p.answers(target) {
		return ""
	}
	location := p.Location
	if location == "" {
		location = "http://" + g.at.String() + pathDescription
	}
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: %s\r\nUSN: uuid:6a1b2c3d-0000-4000-8000-000000000021::%s\r\nEXT:\r\n"+
		"SERVER: igdtest UPnP/1.1 igdtest/1\r\nLOCATION: %s\r\nOPT: \"http://schemas.upnp.org/upnp/1/0/\"; ns=01\r\n"+
		"BOOTID.UPNP.ORG: %d\r\nCONFIGID.UPNP.ORG: 1\r\n\r\n", target, target, location, g.boot)
}

// answers says whether a search for a target is answered.
func (p Profile) answers(target string) bool {
	if p.NoSearch || p.Silent {
		return false
	}
	if p.Targets != nil {
		return slices.Contains(p.Targets, target)
	}
	kind, version := target, 0
	if i := strings.LastIndex(target, ":"); i > 0 {
		if n, err := strconv.Atoi(target[i+1:]); err == nil {
			kind, version = target[:i], n
		}
	}
	switch kind {
	case "upnp:rootdevice", "ssdp:all":
		return true
	case "urn:schemas-upnp-org:device:InternetGatewayDevice", "urn:schemas-upnp-org:service:WANIPConnection":
		return version <= max(p.Version, 1)
	case "urn:schemas-upnp-org:service:WANPPPConnection":
		return p.PPP || p.Both
	default:
		return false
	}
}

// wait waits for a time. It returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// addressOf returns an address of IPv4, the zero value if it is none.
func addressOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
