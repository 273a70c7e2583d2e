package natpmp

import "doublenat/internal/exchange"

// ClientStats counts what a [Client] has done since it was created.
type ClientStats = exchange.Stats

// Stats returns the counts so far. It may be called at any time.
func (c *Client) Stats() ClientStats { return c.exchange.Stats() }
