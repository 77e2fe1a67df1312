package watch

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfig files may name it
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
)

// Access says where the API server is and who asks. The zero value means: from inside a Pod, by its service account.
type Access struct {
	// Kubeconfig is the path of a kubeconfig file, Context the name of a context in it; "" takes the file's current one.
	// Where a file is given, Endpoint and what belongs to it is not looked at.
	Kubeconfig, Context string
	// Server is the URL of the API server in place of the one that Kubeconfig names; "" leaves it.
	Server string
	// Endpoint is the URL of an API server outside of which this program runs.
	Endpoint string
	// CertFile, KeyFile and CAFile are paths of PEM files for Endpoint: the client's certificate and key, and the authority
	// that signed the server's. "" leaves out.
	CertFile, KeyFile, CAFile string
}

// ErrNotInCluster is returned by NewAPIServer for the zero Access outside of a Pod.
var ErrNotInCluster = rest.ErrNotInCluster

// config reads all the files Access names. The errors are client-go's, which users know from CoreDNS and kubectl.
func (a Access) config() (*rest.Config, error) {
	overrides := &clientcmd.ConfigOverrides{}
	rules := &clientcmd.ClientConfigLoadingRules{}
	switch {
	case a.Kubeconfig != "":
		rules.ExplicitPath = a.Kubeconfig
		overrides.CurrentContext = a.Context
		overrides.ClusterInfo.Server = a.Server
	case a.Endpoint != "":
		overrides.ClusterInfo = clientcmdapi.Cluster{Server: a.Endpoint, CertificateAuthority: a.CAFile}
		overrides.AuthInfo = clientcmdapi.AuthInfo{ClientCertificate: a.CertFile, ClientKey: a.KeyFile}
	default:
		return rest.InClusterConfig()
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
}

// A connection on which nothing comes back is given up after keepAliveIdle + keepAliveCount * keepAliveInterval. HTTP/2, which
// an API server speaks over TLS, also asks by PING frames after 30 s without any traffic and waits 15 s for the answer.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3
	dialTimeout       = 10 * time.Second
)

// connect returns an HTTP client of its own connections, and the URL below which the API is.
func (a Access) connect(userAgent string) (*http.Client, *url.URL, error) {
	config, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	config.UserAgent = userAgent
	// A list is worth more early than small, and compressing it takes the server longer than sending it.
	config.DisableCompression = true
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	if config.Dial == nil {
		config.Dial = dialer.DialContext
	}
	if config.BearerTokenFile != "" {
		// Unlike client-go's default this one also reads the file again when the server has refused the token.
		source := transport.NewCachedFileTokenSource(config.BearerTokenFile)
		config.Wrap(transport.ResettableTokenSourceWrapTransport(source))
		config.BearerToken, config.BearerTokenFile = "", ""
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, nil, fmt.Errorf("API server %q: %w", config.Host, err)
	}
	return httpClient, base, nil
}
