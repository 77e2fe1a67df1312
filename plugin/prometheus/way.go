package prometheus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/waypost/waypost/plugin/endpoint"
)

// Way is how /metrics is to be reached: as the web configuration file says, or without one by anybody, over plain HTTP. The
// file is looked at for each connection and each request. name is the way's, which tells it from others.
func (o Options) Way(name string, log *slog.Logger) endpoint.Way {
	if o.TLS == "" {
		return endpoint.Way{}
	}
	return endpoint.Way{Name: name, Check: o.check, Serve: func(s *http.Server, l net.Listener) error {
		err := web.Serve(l, s, &web.FlagConfig{WebConfigFile: &o.TLS}, log)
		if !errors.Is(err, http.ErrServerClosed) { // the file was sound a moment before
			log.Error(fmt.Sprintf("Failed to start HTTPS metrics server: %v", err))
		}
		return err
	}}
}
