//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"doublenat/routeros"
)

// tap is a conversation with a router's API, word by word: it hides nothing of
// what RouterOS says, as package routeros would.
type tap struct {
	conn   net.Conn
	reader *routeros.Reader
	// transcript has what was said aloud, for the report.
	transcript strings.Builder
}

// reply is all that the router says to one command: the sentences up to !done.
type reply []routeros.Sentence

// newTap connects and logs in.
func newTap(ctx context.Context, r realRouter) (*tap, error) {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, err
	}
	t := &tap{conn: conn, reader: routeros.NewReader(conn, routeros.Limits{})}
	answer, err := t.whisper("/login", "=name="+r.user, "=password="+r.password)
	if err == nil && answer.trap() != "" {
		err = errors.New(answer.trap())
	}
	if err == nil && answer.attribute("ret") != "" {
		err = errors.New("the router knows only the login of RouterOS before 6.43")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("logging in: %w", err), conn.Close())
	}
	return t, nil
}

// say sends a command, and returns the reply. Both go into the transcript, so
// they must have nothing that is the owner's.
func (t *tap) say(words ...string) (reply, error) {
	fmt.Fprintf(&t.transcript, "> %s\n", strings.Join(words, " "))
	answer, err := t.whisper(words...)
	for _, sentence := range answer {
		fmt.Fprintf(&t.transcript, "< %s\n", strings.Join(sentence, " "))
	}
	if err != nil {
		fmt.Fprintf(&t.transcript, "! %v\n", err)
	}
	return answer, err
}

// whisper is say without the transcript.
func (t *tap) whisper(words ...string) (reply, error) {
	if err := t.send(words...); err != nil {
		return nil, err
	}
	var all reply
	for {
		sentence, err := t.reader.ReadSentence()
		if err != nil {
			return all, err
		}
		all = append(all, sentence)
		if sentence[0] == "!done" || sentence[0] == "!fatal" {
			return all, nil
		}
	}
}

// send sends a command and does not wait for the reply.
func (t *tap) send(words ...string) error {
	if err := t.conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return err
	}
	_, err := t.conn.Write(routeros.AppendSentence(nil, words))
	return err
}

// attribute returns a value of the last sentence.
func (r reply) attribute(name string) string {
	if len(r) == 0 {
		return ""
	}
	return r.row(len(r) - 1)[name]
}

// row returns the attributes of a sentence.
func (r reply) row(i int) map[string]string {
	row := make(map[string]string)
	for _, word := range r[i][1:] {
		if name, value, ok := strings.Cut(strings.TrimPrefix(word, "="), "="); ok {
			row[name] = value
		}
	}
	return row
}

// rows returns the attributes of all rows.
func (r reply) rows() []map[string]string {
	var rows []map[string]string
	for i, sentence := range r {
		if sentence[0] == "!re" {
			rows = append(rows, r.row(i))
		}
	}
	return rows
}

// trap returns the messages of all refusals, "" for none.
func (r reply) trap() string {
	var messages []string
	for i, sentence := range r {
		if sentence[0] == "!trap" || sentence[0] == "!fatal" {
			messages = append(messages, r.row(i)["message"])
		}
	}
	return strings.Join(messages, "; ")
}

// has says whether there is a sentence of this kind.
func (r reply) has(kind string) bool {
	return slices.ContainsFunc(r, func(s routeros.Sentence) bool { return s[0] == kind })
}
