package config

import "net/netip"

// Ports that kube-proxy listens on.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// Defaults of kube-proxy that appear more than once.
const (
	defaultSync    Duration = "30s"
	defaultMinSync Duration = "1s"
)

// withDefaults returns d with kube-proxy's defaults in empty fields.
func (d *Document) withDefaults() Document {
	full := *d
	full.APIVersion, full.Kind = apiVersion, kind
	orDefault(&full.BindAddress, "0.0.0.0")
	healthz, metrics := "0.0.0.0:10256", "127.0.0.1:10249"
	if a, err := netip.ParseAddr(full.BindAddress); err == nil && a.Is6() {
		healthz, metrics = "[::]:10256", "[::1]:10249"
	}
	orDefault(&full.HealthzBindAddress, healthz)
	orDefault(&full.MetricsBindAddress, metrics)
	orDefault(&full.DetectLocalMode, detectClusterCIDR)
	if full.Mode == modeNFTables && len(full.NodePortAddresses) == 0 {
		full.NodePortAddresses = []string{primary}
	}
	orValue(&full.OOMScoreAdj, -999)
	orValue(&full.IPTables.MasqueradeBit, 14)
	orValue(&full.NFTables.MasqueradeBit, 14)
	for _, period := range []*Duration{&full.IPTables.SyncPeriod, &full.IPVS.SyncPeriod, &full.NFTables.SyncPeriod} {
		orPeriod(period, defaultSync)
	}
	orPeriod(&full.IPTables.MinSyncPeriod, defaultMinSync)
	orPeriod(&full.NFTables.MinSyncPeriod, defaultMinSync)
	orPeriod(&full.ConfigSyncPeriod, "15m0s")
	full.Conntrack = full.Conntrack.withDefaults()
	orDefault(&full.ClientConnection.ContentType, "application/vnd.kubernetes.protobuf")
	if full.ClientConnection.QPS == 0 {
		full.ClientConnection.QPS = 5
	}
	if full.ClientConnection.Burst == 0 {
		full.ClientConnection.Burst = 10
	}
	return full
}

func (c Conntrack) withDefaults() Conntrack {
	orValue(&c.MaxPerCore, 32<<10)
	orValue(&c.Min, 128<<10)
	orValue(&c.TCPEstablishedTimeout, "24h0m0s")
	orValue(&c.TCPCloseWaitTimeout, "1h0m0s")
	return c
}

func orDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func orValue[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// orPeriod replaces nothing and zero, which kubeadm writes where it means the default.
func orPeriod(field *Duration, value Duration) {
	if *field == "" || *field == "0s" || *field == "0" {
		*field = value
	}
}
