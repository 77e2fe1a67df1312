package forward

import "github.com/waypost/waypost/watch/files"

// follow has the files read again whenever they change. What is wrong with one is logged once.
func (s *servers) follow(paths []string) {
	if len(paths) == 0 {
		return
	}
	said := make(map[string]string)
	watch := files.Follow(paths, s.forward.log, func() {
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
	s.mu.Lock()
	s.watch = watch
	s.mu.Unlock()
}
