package forward

import (
	"fmt"

	"github.com/waypost/waypost/watch/files"
)

// follow has the files read again whenever they change. What is wrong with one is logged once.
func (s *servers) follow(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	said := make(map[string]string)
	watch, err := files.Follow(paths, func() {
		for _, path := range paths {
			text := ""
			if err := s.reread(path); err != nil {
				text = err.Error()
			}
			if text != "" && text != said[path] {
				s.forward.log.Warn(text)
			}
			said[path] = text
		}
	})
	if err != nil {
		return fmt.Errorf("plugin/forward: %w", err)
	}
	s.mu.Lock()
	s.watch = watch
	s.mu.Unlock()
	return nil
}
