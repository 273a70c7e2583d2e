package ops

import (
	"slices"

	"doublenat/internal/foreign"
)

// visible makes the text in a picture visible ([foreign.Text]): a router's error, an
// interface's name, or the answer of somebody who is no doublenat is in it.
func visible(s Status) Status {
	s.Version, s.Instance = foreign.Text(s.Version), foreign.Text(s.Instance)
	for _, text := range []*string{(*string)(&s.Lock.Role), &s.Lock.Name, &s.Lock.Active, &s.Lock.Error} {
		*text = foreign.Text(*text)
	}
	v := &s.Verdict
	for _, text := range []*string{&v.Title, &v.Detail, &v.Remedy, (*string)(&v.State), (*string)(&v.Hop)} {
		*text = foreign.Text(*text)
	}
	v.Commands = lines(v.Commands)
	s.Hops = each(s.Hops, func(h *HopStatus) []*string {
		return []*string{(*string)(&h.Name), (*string)(&h.State), (*string)(&h.OpenPorts), &h.Title, &h.Summary, &h.Detail, &h.Error, &h.Remedy, &h.Meanwhile}
	})
	for i, h := range s.Hops {
		if safe := lines(h.Commands); !slices.Equal(safe, h.Commands) {
			s.Hops = slices.Clone(s.Hops)
			s.Hops[i].Commands = safe
		}
	}
	s.Mappings = each(s.Mappings, func(m *Mapping) []*string {
		return []*string{&m.Protocol, &m.By, &m.Description, &m.Remote, (*string)(&m.Kind)}
	})
	s.Events = each(s.Events, func(e *Event) []*string { return []*string{&e.Kind, (*string)(&e.Hop), (*string)(&e.State), &e.Text} })
	return s
}

// lines returns texts made visible.
func lines(all []string) []string {
	return each(all, func(text *string) []*string { return []*string{text} })
}

// each returns the elements with their texts made visible. The slice that was given
// may be shared and is not changed; it is returned itself where there is nothing to do.
func each[T any](all []T, texts func(*T) []*string) []T {
	copied := false
	for i := range all {
		one := all[i]
		for _, text := range texts(&one) {
			safe := foreign.Text(*text)
			if safe == *text {
				continue
			}
			*text = safe
			if !copied {
				all, copied = slices.Clone(all), true
			}
			all[i] = one
		}
	}
	return all
}
