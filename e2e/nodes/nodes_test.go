package nodes

import (
	"strings"
	"testing"
	"time"

	"github.com/waypost/waypost/e2e/kubeadm"
)

// TestNodes is one story told of one cluster: each part takes it up where the one before has left it.
func TestNodes(t *testing.T) {
	c := startTown(t)
	begun := time.Now()
	manifests, err := kubeadm.CoreDNS(t.Context(), c.peers, corednsImage)
	if err != nil {
		t.Fatal(err)
	}
	c.apply(t, strings.Join(append(manifests, residents), "\n---\n"))
	c.awaitDNS(t)
	c.rolledOut(t, "default", "web")
	t.Logf("CoreDNS and Pods are there after %v", time.Since(begun).Round(100*time.Millisecond))
	t.Run("swap, restarts and swap back", c.swap)
	c.setImage(t, waypostImage)
	t.Run("resolvers", c.resolvers)
	t.Run("environment", c.environment)
	t.Run("life of Services", c.life)
	t.Run("cold start", c.coldStart)
	t.Run("a Corefile that cannot be served", c.badCorefile)
	t.Run("containerd is killed", c.killContainerd)
	t.Run("a server is killed", c.killServer)
	t.Run("no API server", c.killAPIServer)
	t.Run("a node dies", c.killNode)
}

// residents are in the cluster from the beginning: a web server, the Services that lead to it, a StatefulSet, and a Pod to
// ask from.
const residents = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "` + toolsImage + `", imagePullPolicy: Never, command: [/bin/visitor, serve, ":8080", 5s],
         readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1, failureThreshold: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-pods}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-any}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: "` + toolsImage + `", imagePullPolicy: Never}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers: [{name: tools, image: "` + toolsImage + `", imagePullPolicy: Never}]
`
