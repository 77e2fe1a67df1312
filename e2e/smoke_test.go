package e2e
import ("testing";"context";"os";"github.com/waypost/waypost/e2e/lab";"github.com/waypost/waypost/e2e/peers";"github.com/waypost/waypost/e2e/fixture";"os/exec";"time")
func TestMain(m *testing.M) { os.Exit(lab.Run(m.Run, "etcd","kube-apiserver","kube-controller-manager","coredns")) }
func TestSmoke(t *testing.T) {
 p,_ := peers.Find()
 c, err := lab.StartControlPlane(context.Background(), p)
 if err!=nil {t.Fatal(err)}
 defer c.Stop()
 s:=time.Now()
 if err := fixture.Load(context.Background(), c.APIServer); err!=nil {t.Error(err)}
 t.Log(time.Since(s))
 o,_:=exec.Command("kubectl","--kubeconfig",c.Kubeconfig,"get","svc,endpointslices,pods","-A").CombinedOutput()
 t.Log(string(o))
}
