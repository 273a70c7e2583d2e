package check

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"doublenat/internal/walk"
	"doublenat/routeros"
)

// routes reads the active routes that lead to the addresses of interest. A router
// with a full table of the Internet is asked for those that are not of the Internet, and for
// those that contain one of the addresses.
func (v *visit) routes(ctx context.Context, interest []span) ([]routeros.Row, error) {
	keep := func(row routeros.Row) bool {
		prefix, err := netip.ParsePrefix(row.Value("dst-address"))
		return err == nil && prefix.Addr().Is4() && row.Bool("active") && overlaps(interest, walk.SpanOf(prefix))
	}
	cmd := routeros.Command{
		Path: walk.PathRoute + "/print", Properties: []string{
			".id", "dst-address", "gateway", "immediate-gw", "gateway-status", "distance", "active", "disabled", "inactive", "routing-table", "routing-mark",
			"type", "blackhole", "pref-src",
		},
	}
	number, err := v.count(ctx, walk.PathRoute)
	if err != nil {
		return nil, err
	}
	if number <= fewRoutes {
		return v.print(ctx, cmd, keep)
	}
	questions := [][]string{{"?static=true", "?connect=true", "?dhcp=true", "?vpn=true", "?ospf=true", "?rip=true"}}
	for _, s := range interest {
		if s.First == s.Last {
			questions = append(questions, containing(s.First))
		}
	}
	questions = append(questions, containing(somewhere()))
	var rows []routeros.Row
	known := make(map[string]bool)
	for _, question := range questions {
		cmd.Queries = anyOf(question)
		more, err := v.print(ctx, cmd, func(row routeros.Row) bool {
			fresh := !known[row.Value(".id")] && keep(row)
			if fresh {
				known[row.Value(".id")] = true
			}
			return fresh
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// containing returns the query words for all prefixes that have an address in them.
func containing(a netip.Addr) []string {
	var words []string
	for bits := 32; bits >= 0; bits-- {
		prefix := netip.PrefixFrom(a, bits).Masked()
		words = append(words, routeros.Equal("dst-address", prefix.String()))
	}
	return words
}

// anyOf returns the query for rows that satisfy at least one of the words.
func anyOf(words []string) []string {
	query := slices.Clone(words[:1])
	for _, word := range words[1:] {
		query = append(query, word, "?#|")
	}
	return query
}

// count returns how many rows a table has; more than any limit if the router does
// not tell.
func (v *visit) count(ctx context.Context, path string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*v.cfg.Patience)
	defer cancel()
	reply, err := v.api.Do(ctx, routeros.Command{Path: path + "/print", Args: []routeros.Attr{{Name: "count-only"}}})
	if err != nil {
		if refused(err) {
			return fewRoutes + 1, nil
		}
		return 0, err
	}
	number, err := strconv.Atoi(reply.Done.Value("ret"))
	if err != nil {
		number = fewRoutes + 1 // what it means is not known
	}
	return number, nil
}
