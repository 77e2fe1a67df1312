package nodes

import (
	"strings"
	"testing"
	"time"
)

// swap puts Waypost in CoreDNS's place, restarts it some times, and goes back, under traffic that must not lose anything.
func (c *town) swap(t *testing.T, image string, restarts, dnsperfRate int) {
	c.apply(t, web)
	c.rolledOut(t, "default", "web")
	endpoints := c.follow(t, "kube-system", "kube-dns")
	traffic := c.startTraffic(t, dnsperfRate)
	begun := time.Now()
	c.setImage(t, image)
	for range restarts {
		c.kubectl(t, "-n", "kube-system", "rollout", "restart", "deployment/coredns")
		c.awaitRollout(t)
	}
	c.setImage(t, corednsImage)
	l := traffic.stop(t)
	t.Logf("swap, %d rolling restarts and swap back in %v: %d of %d queries and %d of %d HTTP requests lost", restarts,
		time.Since(begun).Round(time.Second), l.queriesLost, l.queries, l.requestsLost, l.requests)
	if l.queries == 0 || l.requests == 0 || l.queriesLost > 0 || l.requestsLost > 0 {
		t.Errorf("lost were:\n%s\nthe endpoints of the DNS were:\n%s", strings.Join(l.what, "\n"), endpoints)
	}
}

// setImage does what an operator does, and returns once nothing of the image before runs any more.
func (c *town) setImage(t *testing.T, image string) {
	t.Helper()
	c.kubectl(t, "-n", "kube-system", "set", "image", "deployment/coredns", "coredns="+image)
	c.awaitRollout(t)
}

// awaitRollout returns once the DNS Deployment has been rolled out and its former Pods are gone.
func (c *town) awaitRollout(t *testing.T) {
	t.Helper()
	c.rolledOut(t, "kube-system", "coredns")
	eventually(t, "the former Pods to go", func() error { return c.countPods(t, "kube-system", "k8s-app=kube-dns", 2) })
}

const web = `
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
`
