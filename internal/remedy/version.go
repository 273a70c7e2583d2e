package remedy

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a version of RouterOS, as far as commands differ. The zero value is a
// router whose version is not known.
type Version struct {
	// Major and Minor are 7 and 21 of "7.21.3".
	Major, Minor int
}

// VersionOf reads what a router says of itself, and returns the zero Version for
// what cannot be read.
func VersionOf(text string) Version {
	v, err := ParseVersion(text)
	if err != nil {
		return Version{}
	}
	return v
}

// IsZero reports whether the version is unknown.
func (v Version) IsZero() bool { return v == Version{} }

// ParseVersion reads "7.21", "7.21.3", and what a router says of itself, for
// example "7.20.8 (long-term)" and "7.24beta2 (development)".
func ParseVersion(s string) (Version, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	major, rest, _ := strings.Cut(text, ".")
	minor := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = rest[:i]
	}
	v, errMajor := strconv.ParseUint(major, 10, 8)
	n, errMinor := strconv.ParseUint(minor, 10, 16)
	if errMajor != nil || errMinor != nil {
		return Version{}, fmt.Errorf("%q is not a version of RouterOS; example: 7.21", s)
	}
	return Version{Major: int(v), Minor: int(n)}, nil
}

// String returns the version as it is written.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// AtLeast reports whether v is 7.minor or later.
func (v Version) AtLeast(minor int) bool { return v.Major > 7 || v.Major == 7 && v.Minor >= minor }
