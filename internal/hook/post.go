package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxReply is how much of a reply is read, so that the connection can be used again.
const maxReply = 64 << 10

// poster delivers events by HTTP.
type poster struct {
	cfg    Config
	url    string
	client *http.Client
	// target is the URL without what may be secret in it: credentials, path, query.
	target string
}

func newPoster(cfg Config) (*poster, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("hook: the URL is not an absolute http or https URL")
	}
	return &poster{
		cfg: cfg, url: cfg.URL, target: u.Scheme + "://" + u.Host,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext: cfg.Dial, MaxConnsPerHost: 1, MaxIdleConns: 1, DisableKeepAlives: true,
				ResponseHeaderTimeout: cfg.PostTimeout, MaxResponseHeaderBytes: maxReply,
			},
			Timeout: cfg.PostTimeout,
			// A POST that is redirected becomes a GET, which would tell nobody anything.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// deliver posts one event. Any status of the 200s is a success; of the others those
// that a server answers in a bad moment are worth another try.
func (p *poster) deliver(ctx context.Context, ev Event) error {
	body, err := ev.body()
	if err != nil {
		return fmt.Errorf("encoding the event: %w: %w", errFinal, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return errors.Join(errFinal, withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "doublenat/"+p.cfg.Version)
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting the event: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	// What it says beside the status is not for us.
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return fmt.Errorf("posting the event: answered %d", code)
	default:
		return fmt.Errorf("posting the event: answered %d, %w", code, errFinal)
	}
}

// withoutURL takes the URL out of an error of package http: its path or query can be
// a token.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
