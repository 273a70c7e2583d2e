package routerostest

import (
	"crypto/md5" //nolint:gosec // the login of RouterOS before 6.43
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"doublenat/routeros"
)

// loginPath is the command that every connection begins with.
const loginPath = "/login"

// maxLoginFailures is how many logins may fail on one connection; the next
// failure ends it.
const maxLoginFailures = 4

// loginLocked carries out /login: one sentence with name and password, or the
// challenge of RouterOS before 6.43.
func (r *Router) loginLocked(s *session, c *command) outcome {
	name, _ := c.arg("name")
	password, plain := c.arg("password")
	response, challenged := c.arg("response")
	if r.config.ChallengeLogin && !challenged {
		// An old router does not look at the arguments of a new login.
		s.challenge = binary.BigEndian.AppendUint64(nil, r.random.Uint64())
		s.challenge = binary.BigEndian.AppendUint64(s.challenge, r.random.Uint64())
		return done(hex.EncodeToString(s.challenge))
	}
	user := r.userLocked(name)
	ok := user != nil && !user.is("disabled") && allowedFrom(user.value("address"), s.remote) && slices.Contains(r.policiesLocked(name), "api")
	switch {
	case !ok:
	case r.config.ChallengeLogin:
		ok = s.challenge != nil && equal(response, challengeResponse(user.secret, s.challenge))
		s.challenge = nil
	default:
		ok = plain && equal(password, user.secret)
	}
	if ok {
		s.actor, s.loggedIn, s.failures = actor{name, r.policiesLocked(name)}, true, 0
		r.stats.Logins++
		return done()
	}
	r.stats.FailedLogins++
	if s.failures++; s.failures > maxLoginFailures {
		return outcome{fatal: "too many commands before login"}
	}
	if r.config.ChallengeLogin {
		return failed(refuse(noCategory, "cannot log in"))
	}
	return failed(refuse(noCategory, "invalid user name or password (6)"))
}

// challengeResponse is what a client answers to a challenge.
func challengeResponse(password string, challenge []byte) string {
	sum := md5.Sum(slices.Concat([]byte{0}, []byte(password), challenge)) //nolint:gosec // the login of RouterOS before 6.43
	return "00" + hex.EncodeToString(sum[:])
}

// equal compares secrets.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// userLocked returns a row of /user, nil for none.
func (r *Router) userLocked(name string) *item {
	t := r.tables["/user"]
	if at := t.find(name); at >= 0 {
		return t.items[at]
	}
	return nil
}

// policiesLocked returns what the user's group has now.
func (r *Router) policiesLocked(name string) []string {
	user := r.userLocked(name)
	if user == nil {
		return nil
	}
	groups := r.tables[groupPath]
	at := groups.find(user.value("group"))
	if at < 0 {
		return nil
	}
	return slices.DeleteFunc(strings.Split(groups.items[at].value("policy"), ","), func(p string) bool { return strings.HasPrefix(p, "!") })
}

// allowedFrom reports whether an address is in a list of prefixes; an empty list
// has all of them.
func allowedFrom(list string, addr netip.Addr) bool {
	if list == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(list, ","), func(part string) bool {
		span, ok := parseAddresses(part)
		return ok && span.contains(addr)
	})
}

// beforeLogin answers what comes from somebody who is not logged in.
func beforeLogin() outcome { return outcome{fatal: "not logged in"} }

// fatalSentence returns the !fatal: its reason is a bare word.
func fatalSentence(reason string) routeros.Sentence { return routeros.Sentence{"!fatal", reason} }
