package main

import "slices"

// mutants are mistakes that a hurried change could make, in the packages in which one
// costs a port or a router's flash.
func mutants() []mutant {
	return slices.Concat(ofNATPMP(), ofPCP(), ofPCPServer(), ofFilters(), ofIGD(), ofGateway(), ofNAT(), ofRouter(), ofRouterOS())
}

// ofNATPMP are mistakes in natpmp.
func ofNATPMP() []mutant {
	return []mutant{
		{"natpmp/request.go", "op&ResponseBit != 0", "op&ResponseBit == 99"},
		{"natpmp/request.go", "b[0] != Version", "b[0] > Version+3"},
		{"natpmp/request.go", "len(b) < mapRequestSize", "len(b) < mapRequestSize-1"},
		{"natpmp/request.go", "len(b) < headerSize", "len(b) < 1"},
		{"internal/datagram/queue_order.go", "other != rank && o != nil", "other < rank && o != nil"},
		{"internal/datagram/queue_order.go", "!q.heldUpLocked(j, l.jobs[:i])", "!q.heldUpLocked(j, nil)"},
		{"internal/datagram/protocol.go", "(ends.Port == makes.Port || ends.Port == 0)", "ends.Port == makes.Port"},
		{"internal/datagram/queue.go", "len(l.working) >= q.limits.perClient", "len(l.working) > q.limits.perClient"},
		{"internal/datagram/queue.go", "q.working[l.rank]--", "_ = 0"},
		{"internal/datagram/queue.go", "max(q.limits.waiting/4, 1)", "q.limits.waiting"},
		{"internal/datagram/queue.go", "\t\tdelete(q.lines, l.lineKey)\n", "\t\t_ = 0\n"},
		{"natpmp/reply.go", "r.port != 0 && r.lifetime != 0", "r.port != 0"},
		{"natpmp/response.go", "append(dst, 0, 0, 0, 0, 0, 0)", "dst"},
		{"natpmp/match.go", "case req.Lifetime == 0 && resp.Lifetime != 0:", "case false:"},
		{"natpmp/match.go", "case req.Lifetime != 0 && resp.Lifetime == 0 && resp.ExternalPort == 0:", "case false:"},
		{"internal/exchange/do.go", "job.Schedule.spread(2 * gap)", "job.Schedule.spread(gap)"},
		{"internal/exchange/do.go", "x.link.replaceIfSilent(silenceLimit)", "_ = 0"},
		{"internal/exchange/do.go", " || errors.Is(err, syscall.EPERM)", ""},
		{"internal/exchange/link.go", "l.unheard < silentPackets || ", ""},
		{"internal/exchange/window.go", "if _, busy := w.busy[next.key]; busy && !next.owns {", "if false {"},
		{"internal/exchange/window.go", "\t\tw.release(me)\n", "\t\t_ = 0\n"},
		{"internal/epoch/watch.go", "case w.jumps < patience:", "case w.jumps < 1000:"},
		{"internal/epoch/line.go", "if r.lost(theirs, ours) {", "if r.lost(theirs, 0*ours) {"},
		{"internal/epoch/line.go", "slack+ours/lineDrift", "slack+ours"},
		{"natpmp/announcement.go", "case !ok:\n\t\ts.lost = true", "case !ok:"},
		{"internal/datagram/receive.go", "from.Destination != s.group, from.Broadcast:", "from.Destination != s.group:"},
		{"internal/datagram/receive.go", "from.Destination.IsMulticast() && from.Destination != s.group", "from.Destination != s.group && false"},
		{"internal/datagram/transport.go", "t.bound || a.Destination.IsMulticast()", "t.bound"},
		{"internal/datagram/membership.go", "\t\tdelete(m.joined, index)\n", "\t\t_ = 0\n"},
		{"internal/datagram/shared_linux.go", "unix.IP_MULTICAST_ALL, 0", "unix.IP_MULTICAST_ALL, 1"},
		{"internal/datagram/server.go", "\t\ttrouble = readTrouble{}\n", ""},
		{"internal/datagram/receive.go", "s.rank(to.Client.Addr(), Subject{}) == RankStranger", "false"},
		{"internal/datagram/broadcast.go", "p.Bits() > 30", "p.Bits() > 31"},
		{"natpmp/listener.go", "source.Addr() != l.cfg.Gateway", "source.Addr() != l.cfg.Gateway && false"},
	}
}

// ofPCP are mistakes in pcp, and in what asks by it.
func ofPCP() []mutant {
	return []mutant{
		{"pcp/request.go", "case b[0] != Version:", "case b[0] > Version+3:"},
		{"pcp/request.go", "case len(b) > MaxPacket, len(b)%4 != 0:", "case len(b) > MaxPacket:"},
		{"pcp/option.go", "|| o.PreferFailure {", "{"},
		{"pcp/option.go", "case o.Filtered > 0 && r.Lifetime == 0:", "case false:"},
		{"pcp/response.go", "printed := b[0] == 0 &&", "printed := b[0] == 9 &&"},
		{"pcp/call.go", "case told.Nonce != asked.Nonce, ", "case "},
		{"pcp/call.go", "case req.Lifetime == 0 && resp.Lifetime != 0:", "case false:"},
		{"pcp/call.go", "\t\tc.epoch.Reset()", "\t\t_ = 0"},
		{"pcp/memory.go", "min(lasts, maxHeld)", "min(lasts, 100*maxHeld)"},
		{"pcp/memory.go", "max(lasts, shortestGrant)", "lasts"},
		{"pcp/client.go", "\t\tc.memory.ended(key)\n", ""},
		{"internal/gateway/pcp_address.go", "\tc.stale = true\n", ""},
		{"internal/gateway/pcp_address.go", "_ = c.asks.Unmap(ctx, pcp.UDP, c.probe)", "_ = 0"},
		{"internal/gateway/lease.go", " && !held(err)", ""},
	}
}

// ofIGD are mistakes in the server of igd.
func ofIGD() []mutant {
	return []mutant{
		{"igd/portmap.go", "err == nil && a == i.from.Client.Addr()", "err == nil && a.Is4()"},
		{"igd/portmap.go", "return m.Client != i.from.Client.Addr()", "return false"},
		{"igd/portmap.go", "case port == 0, c == Exact && port != m.External:", "case port == 0:"},
		{"igd/portmap.go", "case external == 0 && c == Exact:", "case false:"},
		{"igd/portmap.go", "if seconds == 0 && i.version > 1 {", "if seconds == 0 {"},
		{"igd/portmap.go", "lease = max(lease, time.Second)", "_ = 0"},
		{"igd/control.go", "if len(args) != len(a.in) {", "if len(args) < len(a.in) {"},
		{"igd/control.go", "len(value) > longestText", "len(value) > 100*longestText"},
		{"igd/control.go", "version <= service.version", "version <= 2+0*service.version"},
		{"igd/web.go", `case req.Header.Get("Origin") != "":`, "case false:"},
		{"igd/web.go", "case !hostOf(req.Host).Is4():", "case false:"},
		{"igd/web.go", "v.requests > 1 && ", "false && "},
		{"igd/web.go", `kind == "text/xml"`, `kind != ""`},
		{"igd/connections.go", "v.state != http.StateActive", "true"},
		{"igd/connections.go", "!l.roomLocked(own, l.perClient)", "!l.roomLocked(own, 99*l.perClient)"},
		{"igd/searches.go", "wait == 0 && from.Destination.IsMulticast()", "false"},
		{"igd/searches.go", "return int(n), err == nil && n > 0", "return int(n), err == nil"},
		{"igd/searches.go", "return datagram.Foreign", "return datagram.Keep"},
		{"igd/pace.go", "full.Sub(now) > (paceBurst-1)*paceEvery", "false"},
		{"igd/notify.go", "n.farewell(context.WithoutCancel(ctx))", "_ = 0"},
		{"igd/notify.go", "rand.N(notifyAgain/2)", "0*rand.N(notifyAgain/2)"},
	}
}

// ofPCPServer are mistakes in what answers PCP.
func ofPCPServer() []mutant {
	return []mutant{
		{"pcp/responder.go", "case req.Client != from.Client.Addr():", "case false:"},
		{"pcp/responder.go", "case req.Options.ThirdParty.IsValid():", "case false:"},
		{"pcp/responder.go", "case m.Protocol == AllProtocols && req.Lifetime == 0:", "case m.Protocol == AllProtocols:"},
		{"pcp/responder.go", "case m.InternalPort == 0 && req.Lifetime != 0:", "case false:"},
		{"pcp/responder.go", "return ok && o.req == r.req", "return ok && o.req.Map == r.req.Map"},
		{"pcp/responder.go", "s.Effect = datagram.Ends", "s.Effect = datagram.Makes"},
		{"pcp/responder.go", "!deletes && reply.port != 0 && reply.lifetime >= time.Second", "!deletes"},
		{"pcp/responder.go", "lasts = code.Lifetime()", "_ = 0"},
		{"internal/frontend/pcp.go", "r.only = r.suggested", "_ = 0"},
		{"internal/frontend/pcp.go", "ok && ours != wish", "ok && ours != wish && false"},
		{"internal/frontend/pcp.go", "errors.Is(err, nat.ErrClientFull) || ", ""},
		{"internal/frontend/pcp.go", "return pcp.ResultExcessiveRemotePeers", "return pcp.ResultNoResources"},
		{"internal/frontend/nonces.go", "req.want != wantEnd && !k.strict", "req.want != wantEnd"},
		{"internal/frontend/nonces.go", " || has.nonce == n", ""},
		{"internal/frontend/nonces.go", " || has.era != k.era", ""},
		{"internal/frontend/nonces.go", " || !has.until.After(now)", ""},
		{"internal/frontend/nonces.go", "(req.protocol == 0 || req.protocol == key.Protocol)", "true"},
		{"internal/frontend/nonces.go", "\t\t\tif !k.mapped(other) {", "\t\t\tif false {"},
		{"internal/frontend/nonces.go", "has.filter = k.of[key].filter", "_ = 0"},
	}
}

// ofFilters are mistakes in who may send to a mapping.
func ofFilters() []mutant {
	return []mutant{
		{"internal/frontend/filter.go", "if o.Filtered > pcp.MaxFilters {", "if false {"},
		{"internal/frontend/filter.go", "case hosts.Bits() == 0:", "case false:"},
		{"internal/frontend/filter.go", "case addr.Is4In6() && hosts.Bits() == 96:", "case false:"},
		{"internal/frontend/establish.go", "if stands && f.keepers.repeats(req.key(client), req.filter) {", "if stands {"},
		{"internal/frontend/establish.go", "out.err == nil && !stands || ", "out.err == nil || "},
		{"internal/frontend/work.go", " && t.req.filter.Op == nat.FilterKeep", ""},
		{"internal/static/core.go", "if req.Filter.Remote != (nat.Remote{}) {", "if false {"},
		{"internal/static/keeper.go", "nat.Filter{Op: nat.FilterSet}", "nat.Filter{}"},
		{"internal/nat/remote.go", "a.Bits() <= b.Bits() && ", ""},
		{"internal/nat/remote.go", "a.Contains(b.Addr()) && (r.Port == 0 || r.Port == other.Port)", "a.Contains(b.Addr())"},
		{"internal/nat/remote.go", "case f == Filter{Op: FilterAdd}:", "case false:"},
		{"internal/nat/remote.go", "return Remote{Prefix: prefix.Masked(), Port: port}, nil", "return Remote{Prefix: prefix, Port: port}, nil"},
		{"internal/nat/remote.go", "\t\treturn before, true\n", "\t\treturn Remote{}, true\n"},
		{"internal/nat/filters.go", "case t.by == originCompanion && stands && m.wish.origin != originCompanion:", "case false:"},
		{"internal/nat/filters.go", "other == nil || !other.wish.stands()", "other == nil"},
		{"internal/nat/filters.go", "case stands && m.wish.origin == originCompanion:", "case false:"},
		{"internal/nat/filters.go", "\tif m.wish.wanted() {\n\t\tbefore", "\tif m.wish.agreed != before {\n\t\tbefore"},
		{"internal/nat/filters.go", "\t\tm.wish.agreed = after\n", "\t\t_ = after\n"},
		{"internal/nat/filters.go", "return ok && after == m.wish.remote", "return ok || after == m.wish.remote"},
		{"internal/nat/filters.go", "_, ok := m.begunFilters(t)\n\t\treturn ok", "_, ok := m.begunFilters(t)\n\t\treturn ok || true"},
		{"internal/nat/filters.go", "case reverted && (!ok || after != m.wish.agreed):", "case reverted && !ok && after == m.wish.agreed:"},
		{"internal/nat/filters.go", "if (r.state == ruleAdding || r.state == ruleChanging) && r.to.Remote != remote {", "if false {"},
		{"internal/nat/requests.go", "\tif m.wish.wanted() {\n\t\te.admitOnly", "\tif false {\n\t\te.admitOnly"},
		{"internal/nat/requests.go", "\t\te.withdraw(m, t)\n", "\t\t_ = 0\n"},
		{"internal/nat/rules.go", "if !m.rule.letsIn(m.wish.remote) {", "if false {"},
		{"internal/nat/rules.go", "case m.wish.state == wishAsked && r.state == ruleStanding && e.unmatched(m):", "case false:"},
		{"internal/nat/decide.go", "have.Remote != want.Remote || ", ""},
		{"internal/nat/plan.go", "found.Remote != want.Remote || ", ""},
		{"internal/nat/plan.go", "a.Remote == b.Remote && ", ""},
		{"internal/nat/reading.go", "remote: r.Remote, agreed: r.Remote,", ""},
		{"internal/router/row.go", "\t\t!r.hearsOnly(o.remote)\n", "\t\tfalse\n"},
		{"internal/router/row.go", "first == wantFirst && last == wantLast", "first == wantFirst && (last == wantLast || true)"},
		{"internal/router/row.go", "known && slices.Equal(ports.plain().ranges, want.ranges)", "known && (slices.Equal(ports.plain().ranges, want.ranges) || true)"},
		{"internal/router/rules.go", "\targs = append(args, found.sources(want.Remote)...)\n", ""},
		{"internal/router/rules.go", "\targs = append(args, natRule{}.sources(want.Remote)...)\n", ""},
		{"internal/router/find.go", " && len(n.sources(want.Remote)) == 0", ""},
		{"internal/router/comment.go", "o.remote != (nat.Remote{}) && (err != nil || again != o.remote)", "false && (err != nil || again != o.remote)"},
	}
}

// ofGateway are mistakes in internal/gateway, and in which addresses it takes for public.
func ofGateway() []mutant {
	return []mutant{
		{"internal/gateway/lease.go", "case !transient(err):", "case err == nil:"},
		{"internal/gateway/lease.go", "lost = unanswered(err, lost)", "_ = lost"},
		{"internal/gateway/lease.go", "if !g.named.Load() {", "if false && !g.named.Load() {"},
		{"internal/gateway/lease.go", "m.ExternalPort == 0 || m.Lifetime == 0", "m.ExternalPort == 0"},
		{"internal/gateway/lease.go", "Ambiguous: m.Lifetime != 0", "Ambiguous: false"},
		{"internal/gateway/lease.go", "return before || refused.Tries > 1", "return before"},
		{"internal/gateway/lease.go", "max(d/time.Second, 1)", "max(d/time.Second, 0)"},
		{"internal/gateway/address.go", "!g.address.IsValid() || time.Since(g.addressAt) > g.cfg.MaxAge", "!g.address.IsValid()"},
		{"internal/gateway/address.go", "if before == now {", "if false && before == now {"},
		{"internal/realm/realm.go", "first != 0 && first < 240", "first < 240"},
		{"internal/gateway/address.go", "\t\t\tg.ageAddress()\n", ""},
		{"internal/gateway/address.go", "time.Until(began.Add(lookPause))", "time.Until(began)"},
		{"internal/gateway/announcements.go", "news || g.epoch.Suspect(resp.Epoch, at)", "news"},
		{"internal/gateway/announcements.go", "wait = min(2*wait, openLast)", "wait *= 2"},
		{"internal/gateway/anyport.go", " || !g.any.worthTrying(time.Now())", ""},
		{"internal/gateway/anyport.go", "a.named, a.vain = true, time.Time{}", "a.vain = time.Time{}"},
		{"internal/gateway/record.go", "r.away = r.away || h.state == StateFailing", "r.away = h.state == StateFailing"},
		{"internal/gateway/record.go", "if p == forRelease && h.state == StateOK", "if false && h.state == StateOK"},
		{"internal/gateway/epoch.go", "g.cfg.OnClockStood()", "_ = 0"},
		{"internal/gateway/epoch.go", "g.cfg.OnStateLost() // Nobody", "_ = 0 // Nobody"},
		{"internal/gateway/odd.go", "now.Sub(line.told) < oddInterval", "now.Before(line.told)"},
		{"internal/gateway/health.go", " && !g.heardSince(start)", ""},
		{"internal/gateway/gateway.go", "\t\tg.setAddress(netip.Addr{}, at)\n", ""},
	}
}

// ofNAT are mistakes in internal/nat.
func ofNAT() []mutant {
	return []mutant{
		{"internal/nat/plan.go", "return found.Match != want.Match || ", "return "},
		{"internal/nat/plan.go", "w.ID = \"\"", "_ = 0"},
		{"internal/nat/logbook.go", "if b.left < 1 {", "if b.left < 0 {"},
		{"internal/nat/logbook.go", "!end && now.Before(", "now.Before("},
		{"internal/nat/logbook.go", "b.at = later(b.at, now)", "b.at = now"},
		{"internal/nat/ports.go", "h.Write([]byte(p.instance))", "h.Write(nil)"},
		{"internal/nat/ports.go", "if holder, ok := p.outer[mine]; ok && holder != key {", "if holder, ok := p.outer[mine]; ok && holder != key && false {"},
		{"internal/nat/ports.go", "external == 0 || external == 5350 || external == 5351", "external == 0 || external == 5350"},
		{"internal/nat/limits.go", "h.counted >= e.cfg.MaxMappingsPerClient", "h.counted > e.cfg.MaxMappingsPerClient"},
		{"internal/nat/limits.go", "if m.key.Protocol == p && m.inner != 0 {", "if m.key.Protocol == p && m.inner != 0 && false {"},
		{"internal/nat/limits.go", "other.wish.asked.Before(oldest.wish.asked)", "oldest.wish.asked.Before(other.wish.asked)"},
		{"internal/nat/lease.go", "l.mayLive = later(l.mayLive, now.Add(longest))", "_ = longest"},
		{"internal/nat/lease.go", "l.failures++", "_ = 0"},
		{"internal/nat/leases.go", "case in.Err == nil && l.again.After(e.now):", "case in.Err == nil && l.again.After(e.now) && false:"},
		{"internal/nat/leases.go", "e.ports.moved(m, former{old, l.until})", "_ = 0"},
		{"internal/nat/requests.go", "w.until = later(w.lasts(l.since, l.granted), e.now.Add(e.grantFor(m, &m.queue[0]).Lifetime))", "w.until = w.lasts(l.since, l.granted)"},
		{"internal/nat/requests.go", "case m == nil && e.phase == phaseStarting:", "case m == nil && e.phase == phaseStarting && false:"},
		{"internal/nat/requests.go", "if l.state == leaseDoubtful { // The lease was lost", "if false { // The lease was lost"},
		{"internal/nat/reading.go", "m.wish.until = e.now.Add(min(life, e.cfg.HoldOver))", "_ = 0"},
		{"internal/nat/reading.go", "return m.wish.stands() && r.standing < e.reader.number", "return m.wish.stands()"},
		{"internal/nat/wish.go", "w.until = later(until, w.promised)", "w.until = until"},
		{"internal/nat/decide.go", "if m.granted() && !m.unit.removing() {", "if m.granted() {"},
	}
}

// ofRouter are mistakes in internal/router.
func ofRouter() []mutant {
	return []mutant{
		{"internal/router/comment.go", "len(words) != 6", "len(words) > 6"},
		{"internal/router/comment.go", "o.check() == nil && o.String() == comment", "o.check() == nil"},
		{"internal/router/comment.go", "b = append(b, \" life=\"...)", "b = append(b, \" live=\"...)"},
		{"internal/router/rules.go", "if again {", "if again && false {"},
		{"internal/router/rules.go", "row.is(o, want) {", "row.is(o, want) && false {"},
		{"internal/router/rules.go", "\t\t{Name: \"in-interface\", Value: iface},\n", ""},
		{"internal/router/rules.go", "unknown || wrote && lost", "unknown || wrote || lost"},
		{"internal/router/row.go", "return r.chain == chainDstNAT", "return false"},
		{"internal/router/row.go", "|| r.narrowed ||", "||"},
		{"internal/router/row.go", "rule.Displaced = r.iface != iface", "_ = iface"},
		{"internal/router/ports.go", "next = int(r.high) + 1", "next = int(r.high)"},
		{"internal/router/cover.go", "if r.disabled || r.invalid ||", "if r.invalid ||"},
		{"internal/router/cover.go", "case negated && has(\"local\"):", "case has(\"local\"):"},
	}
}

// ofRouterOS are mistakes in routeros.
func ofRouterOS() []mutant {
	return []mutant{
		{"routeros/sentence.go", "r.buf, r.ends, r.long = r.buf[:0], r.ends[:0], nil", "r.buf, r.ends = r.buf[:0], r.ends[:0]"},
		{"routeros/sentence.go", "if len(r.ends) > 0 {", "if len(r.ends) >= 0 {"},
		{"routeros/reply.go", "func parseRow(words Sentence) Row {", "func parseRow(words Sentence) Row {\n\twords = words[:len(words)/2]"},
		{"routeros/reply.go", "value == \"true\" || value == \"yes\"", "value == \"true\""},
		{"routeros/dispatch.go", "s.held -= k.size", "_ = 0"},
		{"routeros/dispatch.go", "s.held+size > limit", "size > limit"},
		{"routeros/dispatch.go", "if k.gone {", "if false {"},
		{"routeros/backoff.go", "(!proven || lived < b.last)", "!proven"},
		{"routeros/backoff.go", "if now := time.Now(); b.free.IsZero() || now.Sub(b.free) >= settled {", "if now := time.Now(); true {"},
		{"routeros/command.go", "len(c.Args) + len(c.Queries) + 3", "len(c.Args) + 3"},
		{"routeros/command.go", ", \"key\"}", "}"},
	}
}
