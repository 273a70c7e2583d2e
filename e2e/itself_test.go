//go:build e2e && linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// askedByItselfToo is a flow in which doublenat's own programs ask too. A pool is too small for
// them beside the others: it keeps a port that was given back from others for a while.
func askedByItselfToo(flow func(context.Context, *world) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if err := flow(ctx, w); err != nil {
			return err
		}
		return withDoublenatItself(ctx, w)
	}
}

// withDoublenatItself has the doctor ask by PCP and search as programs do, on doublenat's own host
// and on one of the LAN, and doublenat's client map in both languages.
func withDoublenatItself(ctx context.Context, w *world) error {
	report, _ := w.doublenat.check(ctx) // not all is well: searches at the router are not redirected here
	if err := says(report, "pcp         doublenat at 172.30.254.2:5351 answers PCP",
		"search      doublenat is found by multicast and a search at 172.30.254.2 at http://", "Connected, public address "+publicAddress); err != nil {
		return fmt.Errorf("check in doublenat's place: %w", err)
	}
	cmd := w.bob.command(ctx, doublenatPath, "check")
	cmd.Env = w.doublenat.environ
	said, _ := cmd.CombinedOutput()
	if err := says(string(said), "pcp         doublenat, asked at the router's 172.30.254.1:5351, answers PCP",
		"search      doublenat is found by multicast at http://192.168.88.1:5351/"); err != nil {
		return fmt.Errorf("check on a LAN host: %w", err)
	}
	w.bob.serve(ctx, w.t, "tcp", 8085)
	for _, by := range []string{"pcp", "igd"} {
		if err := w.itself(ctx, by); err != nil {
			return fmt.Errorf("doublenat map --by %s: %w", by, err)
		}
	}
	return nil
}

// itself maps a port of bob's by doublenat's own client, and ends it with another process.
func (w *world) itself(ctx context.Context, by string) error {
	said, err := w.bob.command(ctx, doublenatPath, "map", "tcp", "8085", "--by", by, "--json").Output()
	if err != nil {
		return err
	}
	var got struct {
		ExternalPort uint16 `json:"external_port"`
	}
	if err := json.Unmarshal(said, &got); err != nil {
		return fmt.Errorf("%q: %w", said, err)
	}
	m := mapping{protocol: "tcp", external: got.ExternalPort, internal: 8085}
	if err := errors.Join(w.reach(ctx, m, w.bob), w.layers(ctx, 1)); err != nil {
		return err
	}
	if _, err := output(w.bob.command(ctx, doublenatPath, "unmap", "tcp", "8085", "--by", by)); err != nil {
		return err
	}
	return w.layers(ctx, 0)
}
