package natpmp

import (
	"slices"
	"time"
)

const (
	// flapPause is the least time between two beginnings of a link's series, so that a
	// link which goes up and down is not flooded.
	flapPause = 10 * time.Second
	// maxSeries bounds the links that are remembered for one announcement.
	maxSeries = 64
)

// announcement is something that is announced, and how far that has come on each link.
type announcement struct {
	began, lookAt time.Time
	series        []*series
}

// newAnnouncement returns an announcement that begins now.
func newAnnouncement(now time.Time) *announcement { return &announcement{began: now, lookAt: now} }

// series is the copies of an announcement on one link.
type series struct {
	AnnouncementLink

	// began is when the first copy was due, due is when the next one is.
	began, due time.Time
	// sent is how many were, failures included.
	sent int
	// lost is set when the link was away or failed since the beginning: whoever is on it
	// may have missed copies.
	lost bool
	// gone is set while the link is not there.
	gone bool
	// warned is set once a failure was told of.
	warned bool
}

// pending says whether there are copies to be sent now or later.
func (s *series) pending() bool { return !s.gone && (s.sent < announcements || s.lost) }

// sentOne notes that a copy was sent, or was not.
func (s *series) sentOne(ok bool, now time.Time) {
	switch {
	case !ok:
		s.lost = true
	case s.lost && now.Sub(s.began) >= flapPause:
		s.sent, s.began, s.lost = 0, now, false // This is the first copy of a new series.
	}
	s.sent = min(s.sent+1, announcements)
	gap := announcementWait
	if s.sent < announcements {
		gap = announcementGap << (s.sent - 1)
	}
	s.due = now.Add(gap)
}

// look takes in which links there are.
func (e *announcement) look(links []AnnouncementLink, now time.Time) {
	for _, s := range e.series {
		i := slices.IndexFunc(links, func(l AnnouncementLink) bool { return l.ID == s.ID })
		switch {
		case i < 0:
			s.gone, s.lost = true, true
			continue
		case s.gone:
			s.gone, s.due = false, now
		}
		s.AnnouncementLink = links[i]
	}
	for _, l := range links {
		if !slices.ContainsFunc(e.series, func(s *series) bool { return s.ID == l.ID }) {
			e.series = append(e.series, &series{AnnouncementLink: l, began: now, due: now})
		}
	}
	if len(e.series) > maxSeries {
		e.series = slices.DeleteFunc(e.series, func(s *series) bool { return s.gone })
	}
	wait := announcementWait
	if now.Sub(e.began) < announcementSpan || slices.ContainsFunc(e.series, (*series).running) {
		wait = announcementLook
	}
	e.lookAt = now.Add(wait)
}

// running says whether the series is in the midst of its copies.
func (s *series) running() bool { return !s.gone && s.sent < announcements }

// next returns the time until something is to be done, 0 for never: all links that were
// seen have had their copies.
func (e *announcement) next(now time.Time) time.Duration {
	owed := len(e.series) == 0
	at := e.lookAt
	for _, s := range e.series {
		if s.pending() || s.gone {
			owed = true
		}
		if s.pending() && s.due.Before(at) {
			at = s.due
		}
	}
	if !owed {
		return 0
	}
	return max(at.Sub(now), time.Nanosecond)
}
