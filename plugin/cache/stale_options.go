package cache

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/coredns/caddy/caddyfile"
)

// parse reads [DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]].
func (s *Stale) parse(c *caddyfile.Dispenser) error {
	args := c.RemainingArgs()
	if len(args) > 5 {
		return c.ArgErr()
	}
	*s = Stale{UpTo: defaultStale, PreferPositive: s.PreferPositive}
	if len(args) == 0 {
		return nil
	}
	var err error
	if s.UpTo, err = time.ParseDuration(args[0]); err != nil {
		return err
	}
	if s.UpTo < 0 {
		return errors.New("invalid negative duration for serve_stale")
	}
	if len(args) == 1 {
		return nil
	}
	mode := strings.ToLower(args[1])
	if mode != "immediate" && mode != "verify" {
		return fmt.Errorf("invalid value for serve_stale refresh mode: %s", mode)
	}
	s.Verify = mode == "verify"
	rest := args[2:]
	if s.Verify && len(rest) > 0 {
		if err := s.parseTimeout(rest[0]); err != nil {
			return err
		}
		rest = rest[1:]
	}
	if len(rest) > 2 {
		return c.ArgErr()
	}
	if len(rest) > 0 {
		err = s.parseTTL(rest[0])
	}
	if err == nil && len(rest) > 1 {
		err = s.parseRecheck(rest[1])
	}
	return err
}

func (s *Stale) parseTimeout(text string) (err error) {
	if s.Timeout, err = time.ParseDuration(text); err != nil {
		return fmt.Errorf("invalid serve_stale verify timeout: %w", err)
	}
	if s.Timeout < 0 {
		return errors.New("invalid negative timeout for serve_stale verify")
	}
	return nil
}

func (s *Stale) parseTTL(text string) error {
	ttl, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("invalid serve_stale response TTL: %w", err)
	case ttl < 0:
		return errors.New("invalid negative response TTL for serve_stale")
	case ttl%time.Second != 0:
		return errors.New("serve_stale response TTL must be a whole number of seconds")
	case ttl/time.Second > math.MaxUint32:
		return errors.New("serve_stale response TTL exceeds the DNS TTL range")
	}
	s.TTL = uint32(ttl / time.Second)
	return nil
}

func (s *Stale) parseRecheck(text string) (err error) {
	s.Recheck, err = time.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Errorf("invalid serve_stale failure recheck: %w", err)
	case s.Recheck < 0:
		return errors.New("invalid negative failure recheck for serve_stale")
	case s.Recheck > mostRecheck:
		return errors.New("serve_stale failure recheck cannot exceed 5 minutes")
	}
	return nil
}
