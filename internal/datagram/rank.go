package datagram

// Rank is how much a request has to lose by waiting. Those of a higher rank go
// first, whoever else asks for how much. The zero value is RankStranger.
type Rank uint8

// The ranks, from the lowest.
const (
	// RankStranger is a request of a client that has nothing to lose yet.
	RankStranger Rank = iota
	// RankHolder is a request of a client that has a mapping, for something else.
	RankHolder
	// RankRenewal is a request for a mapping that the client has. What it needs is
	// there already, so that it is soon answered: a request that may have to wait
	// for something new, or for an end, is none.
	RankRenewal

	ranks = int(RankRenewal) + 1
)
