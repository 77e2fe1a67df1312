package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waypost/waypost/cluster"
	"github.com/waypost/waypost/cmd/internal/collector"
	"github.com/waypost/waypost/journal"
	"github.com/waypost/waypost/proxy"
	"github.com/waypost/waypost/proxy/config"
	"github.com/waypost/waypost/proxy/conntrack"
	"github.com/waypost/waypost/proxy/health"
	"github.com/waypost/waypost/proxy/keeper"
	"github.com/waypost/waypost/proxy/metrics"
	"github.com/waypost/waypost/proxy/nftables"
	"github.com/waypost/waypost/proxy/page"
	"github.com/waypost/waypost/proxy/plan"
	"github.com/waypost/waypost/proxy/probe"
)

// kernel is what routes are brought into: nftables.
type kernel interface {
	proxy.Kernel
	// Listen begins to listen to changes that others make.
	Listen() (watcher, error)
	// String says what is where, for the log.
	String() string
}

// watcher tells of changes that others make, as an nftables.Watcher does.
type watcher interface {
	Run(ctx context.Context, changed func(nftables.Intrusion)) error
}

// tables is an nftables.Tables as a kernel.
type tables struct{ *nftables.Tables }

// Listen implements kernel.
func (t tables) Listen() (watcher, error) {
	w, err := t.Tables.Listen()
	if err != nil {
		return nil, err
	}
	return w, nil
}

// flows is the kernel's table of flows: a conntrack.Flows.
type flows interface {
	keeper.Flows
	// Run removes flows that contradict the routes, until ctx ends.
	Run(ctx context.Context, report func(conntrack.Pass))
}

// node is what of the kernel is the proxy's.
type node struct {
	kernel
	flows flows
	// removeKubeProxy takes away what kube-proxy has left behind, and returns what that was.
	removeKubeProxy func() (removed []string, err error)
	root            string // where /proc and /sys are: "/" but in tests
}

// process is a proxy that runs.
type process struct {
	command  *config.Command
	settings *config.Settings
	kernel   node
	node     string // its name
	log      *slog.Logger

	plan    *plan.Plan
	state   *health.State
	checks  *health.Checks
	metrics *metrics.Metrics
	keeper  *keeper.Keeper
	loading *collector.Pacer // until there are routes
	routed  chan struct{}    // closed once there are
	prober  *probe.Prober    // nil where nobody is to be asked

	flowTrouble map[string]string // what is wrong with the flows of a family, already logged; for flowsReconciled alone
}

// serve keeps the node's routes until ctx ends, or until something happens that it cannot go on with. The routes stay.
func serve(ctx context.Context, c *config.Command, k node, out io.Writer) error {
	j := newJournal(c.Settings, out)
	defer j.Close()
	p := &process{command: c, settings: c.Settings, kernel: k, log: j.Logger(""), loading: newLoading(), routed: make(chan struct{}), flowTrouble: map[string]string{}}
	collector.Limit()
	p.loading.Start()
	defer p.loading.Stop()
	if err := p.build(); err != nil {
		return err
	}
	defer p.checks.Close()
	source, err := p.source()
	if err != nil {
		return err
	}
	p.log.Info(fmt.Sprintf("Waypost-proxy-%s on node %s, for %s", version, p.node, k))
	p.checkKernel()
	for _, note := range p.settings.Notes {
		p.log.Warn(note)
	}
	if pods := &p.settings.Pods; !p.settings.PodsOfNode && pods.Prefixes == nil && pods.Interface == "" && pods.InterfacePrefix == "" {
		p.log.Warn("clusterCIDR is not set, so Pods cannot be told from others: no client of a ClusterIP is masqueraded, and externalTrafficPolicy Local holds for Pods too")
	}
	p.setSysctls()
	p.setOOMScore()
	return p.live(ctx, source)
}

func newJournal(s *config.Settings, out io.Writer) *journal.Journal {
	format := journal.Text
	if s.JSONLog {
		format = journal.JSON
	}
	j := journal.New(out, format)
	if s.Verbosity >= 2 {
		j.SetLevel(slog.LevelDebug)
	}
	return j
}

// build puts the parts together.
func (p *process) build() error {
	s := p.settings
	if p.node = s.NodeName; p.node == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find the node's name: %w; set --node-name", err)
		}
		p.node = strings.ToLower(strings.TrimSpace(host))
	}
	installed, err := p.kernel.Read()
	if err != nil {
		return fmt.Errorf("%w: %s", err, lacking(err))
	}
	p.plan = plan.New(plan.Options{
		NodeName: p.node, NodeIP: s.NodeIP, Pods: s.Pods, PodsOfNode: s.PodsOfNode, NodePorts: s.NodePorts, NodePortsPrimary: s.NodePortsPrimary,
		MasqueradeAll: s.MasqueradeAll, NoExternalIPs: s.NoExternalIPs, Protected: p.command.ClusterDNS,
		AllowNodeAddresses: p.command.AllowNodeIPs, Probed: p.command.ProbeDNS, Installed: installed, Started: time.Now(),
	})
	families := []string{"IPv4", "IPv6"}
	p.state = health.NewState(health.Options{
		Timeout: 2 * s.SyncPeriod, Families: families, Node: p.plan.Node,
		Waiting: []cluster.Kind{cluster.KindService, cluster.KindSlice, cluster.KindNode},
	})
	p.checks = health.NewChecks(p.state, p.log)
	p.metrics = metrics.New(p.plan, families)
	p.keeper = keeper.New(keeper.Options{
		Plan: p.plan, Kernel: p.kernel, State: p.state, Checks: p.checks, Metrics: p.metrics, Log: p.log, RetryMax: s.SyncPeriod,
		Flows: p.kernel.flows, Installed: installed,
		Begun: p.begun,
	})
	if len(p.command.ProbeDNS) == 0 {
		return nil
	}
	p.prober, err = probe.Open(probe.Options{
		Endpoints: p.plan.Probed, Asked: p.metrics.Probed, Log: p.log,
		Use: func(answering []netip.Addr) {
			p.plan.UseOnly(answering)
			p.keeper.Refresh()
		},
	})
	return err
}

// lacking is what the node may lack where what is in its kernel cannot be read.
func lacking(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "waypost-proxy needs the capability NET_ADMIN"
	case errors.Is(err, unix.EINVAL): // netfilter has no such part
		return "waypost-proxy needs a kernel with nf_tables, CONFIG_NF_TABLES"
	}
	return "waypost-proxy needs the capability NET_ADMIN, and a kernel with nf_tables"
}

// begun gives back the memory that it took to begin: from now on there is little to do.
func (p *process) begun() {
	p.loading.Stop()
	debug.FreeOSMemory()
	close(p.routed)
	if p.plan.Node() == nil {
		p.log.Warn(fmt.Sprintf("there is no Node %q: no endpoint counts as being on this node, nor its zone, and /healthz says 503; set --hostname-override to the Node's name", p.node))
	}
}

// awaitRoutes waits until there are routes; it reports false where ctx ends before.
func (p *process) awaitRoutes(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-p.routed:
		return true
	}
}

// succeed takes away what kube-proxy has left behind, once there are routes in its place. Routes work beside it, if not all
// connections go by them.
func (p *process) succeed(ctx context.Context) {
	if !p.awaitRoutes(ctx) {
		return
	}
	removed, err := p.kernel.removeKubeProxy()
	if len(removed) > 0 {
		p.log.Info("what kube-proxy has left behind is taken away: " + strings.Join(removed, ", "))
	}
	if err != nil {
		level := slog.LevelWarn
		if len(removed) == 0 && errors.Is(err, fs.ErrPermission) { // most likely there is nothing
			level = slog.LevelInfo
		}
		p.log.Log(ctx, level, "what kube-proxy may have left behind is not all taken away: "+strings.ReplaceAll(err.Error(), "\n", "; ")+
			"; run waypost-proxy --cleanup as root")
	}
}

// live runs all parts and returns when they have ended: with ctx, or with the first of them that cannot go on.
func (p *process) live(ctx context.Context, source cluster.Source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	for _, l := range p.listeners() {
		_, done := l.Start(ctx)
		parts.Go(func() {
			if err := <-done; err != nil {
				cancel(err)
			}
		})
	}
	w, err := p.kernel.Listen() // before anything is there that could be touched
	parts.Go(func() { p.guard(ctx, w, err) })
	parts.Go(func() { p.keeper.Run(ctx) })
	parts.Go(func() { p.succeed(ctx) })
	parts.Go(func() { p.kernel.flows.Run(ctx, p.flowsReconciled) })
	var sink cluster.Sink = p.keeper
	if p.prober != nil {
		sink = probing{p.keeper, p.plan, p.prober}
		parts.Go(func() { p.probe(ctx) })
	}
	if collector.Ours() {
		r := newResting(sink)
		sink = r
		parts.Go(func() {
			if p.awaitRoutes(ctx) {
				r.run(ctx)
			}
		})
	}
	parts.Go(func() { source.Run(ctx, sink) })
	if c := p.command; c.ConfigFile != "" {
		parts.Go(func() { cancel(whenChanged(ctx, c.ConfigFile, c.ConfigText, p.log)) })
	}
	parts.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	p.log.Info("ending; the routes stay in the kernel")
	return nil
}

// probe asks the cluster's DNS servers, once there are routes: those that are there by then are used until they fall silent.
func (p *process) probe(ctx context.Context) {
	p.awaitRoutes(ctx)
	p.prober.Run(ctx) // and where ctx has ended, only to close what is open
}

// probing is a keeper of whose changes a prober hears too, where it may be to ask others.
type probing struct {
	*keeper.Keeper
	plan   *plan.Plan
	prober *probe.Prober
}

// Apply implements cluster.Sink.
func (p probing) Apply(changes []cluster.Change) {
	if p.Keeper.Apply(changes); p.plan.ProbedChanged() {
		p.prober.Refresh()
	}
}

func (p *process) listeners() []*health.Listener {
	status := &health.Status{State: p.state, Healthz: p.metrics.Healthz, Livez: p.metrics.Livez}
	pages := page.Handler(page.Options{
		Metrics: p.metrics.Handler(), Plan: p.plan, Mode: "nftables", Config: p.settings.Effective, Profiling: p.settings.Profiling,
	})
	var all []*health.Listener
	for _, l := range []*health.Listener{
		{Name: "/healthz", Address: p.settings.Healthz, Handler: status.Handler()},
		{Name: "/metrics", Address: p.settings.Metrics, Handler: pages},
	} {
		l.HardFail, l.InUse, l.Log = p.settings.HardFail, "does kube-proxy, which must end first, or another waypost-proxy still run here?", p.log
		if l.Address != "" {
			all = append(all, l)
		}
	}
	return all
}

// guard has the kernel put right when somebody else touches what is ours. It begins with what Listen returned.
func (p *process) guard(ctx context.Context, w watcher, err error) {
	for {
		if err == nil {
			err = w.Run(ctx, func(i nftables.Intrusion) { p.keeper.Touched(fmt.Sprintf("%s: %s", p.kernel, i)) })
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Error(fmt.Sprintf("changes by others are not noticed: %v; trying again in %s", err, guardPause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(guardPause):
			if w, err = p.kernel.Listen(); err == nil {
				p.keeper.Touched(fmt.Sprintf("%s: perhaps changed while nobody looked", p.kernel))
			}
		}
	}
}

const guardPause = 5 * time.Second

// flowsReconciled counts a look at the flows of a family, and tells what is wrong, once.
func (p *process) flowsReconciled(pass conntrack.Pass) {
	p.metrics.Flows(pass.Family, pass.Took, pass.Removed)
	if pass.Removed > 0 {
		p.log.Debug(fmt.Sprintf("%d flows of %s contradicted the routes and are removed", pass.Removed, pass.Family))
	}
	text := ""
	if pass.Err != nil {
		text = fmt.Sprintf("flows of %s are not in line with the routes: %v; trying again", pass.Family, pass.Err)
	}
	switch before := p.flowTrouble[pass.Family]; {
	case text == before:
	case text != "":
		p.log.Error(text)
	default:
		p.log.Info(fmt.Sprintf("flows of %s are in line with the routes again", pass.Family))
	}
	p.flowTrouble[pass.Family] = text
}

// The oldest kernel that has all that the rules use, and that they were made for.
const kernelMajor, kernelMinor = 5, 13

// checkKernel says where the kernel is older. It may take the rules all the same, as vendors have newer parts in theirs.
func (p *process) checkKernel() {
	text, err := os.ReadFile(filepath.Join(p.kernel.root, "proc/sys/kernel/osrelease"))
	var major, minor int
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d.%d", &major, &minor)
	}
	if err == nil && (major < kernelMajor || major == kernelMajor && minor < kernelMinor) {
		p.log.Error(fmt.Sprintf("the kernel is %s, and waypost-proxy needs %d.%d or later: if the kernel does not take the rules, nothing is routed",
			strings.TrimSpace(string(text)), kernelMajor, kernelMinor))
	}
}

// setSysctls sets what the configuration says of the table of flows. Routes work without.
func (p *process) setSysctls() {
	sysctls := conntrack.Sysctls(p.settings.Sysctls)
	changed, err := sysctls.Set(p.kernel.root)
	for _, what := range changed {
		p.log.Info(what)
	}
	if err != nil {
		p.log.Warn("not all of conntrack's settings have an effect: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// setOOMScore tells the kernel how soon it may end this process when memory runs out.
func (p *process) setOOMScore() {
	file := filepath.Join(p.kernel.root, "proc/self/oom_score_adj")
	if err := os.WriteFile(file, []byte(strconv.Itoa(p.settings.OOMScoreAdj)), 0); err != nil {
		p.log.Debug(fmt.Sprintf("oomScoreAdj %d has no effect: %v", p.settings.OOMScoreAdj, err))
	}
}
