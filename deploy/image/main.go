// Image makes the container images of Waypost and of its companion out of their programs, without a container engine:
//
//	image [-repository NAME] [-tag TAG] [-revision COMMIT] FOLDER
//	image -root ROOT -arch ARCHITECTURE FOLDER
//
// FOLDER holds the programs of each architecture, as FOLDER/amd64/waypost. Beside these it writes an archive of each
// program for all architectures, FOLDER/waypost.tar, and one for each of them, FOLDER/waypost-arm64.tar.
// The same programs make the same bytes: times are SOURCE_DATE_EPOCH's, or the epoch. With -root it writes the files that
// the images hold for one architecture into ROOT/waypost and ROOT/waypost-proxy instead, which the Dockerfile copies.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var r release
	var root, arch string
	flags := flag.NewFlagSet("image", flag.ExitOnError)
	flags.StringVar(&r.repository, "repository", "localhost", "`NAME` of the registry, and the folder there, that the images are named in")
	flags.StringVar(&r.version, "tag", "latest", "`TAG` of the images, which is the programs' version")
	flags.StringVar(&r.revision, "revision", "", "`COMMIT` that the programs were built from")
	flags.StringVar(&root, "root", "", "`FOLDER` to write the files of the images to, instead of archives")
	flags.StringVar(&arch, "arch", runtime.GOARCH, "the `ARCHITECTURE` of these files")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("read the command line: %w", err)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("expected one argument, the folder of the programs, not %q", flags.Args())
	}
	if root != "" {
		return writeRoots(root, filepath.Join(flags.Arg(0), arch))
	}
	var err error
	if r.created, err = sourceDate(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	for _, p := range programs {
		if err := writeArchives(flags.Arg(0), p, r); err != nil {
			return fmt.Errorf("make the image of %s: %w", p.name, err)
		}
	}
	return nil
}

// writeRoots writes the files of each program's image.
func writeRoots(root, folder string) error {
	for _, p := range programs {
		binary, err := readProgram(folder, p)
		if err != nil {
			return err
		}
		if err := writeRoot(filepath.Join(root, p.name), p, binary); err != nil {
			return err
		}
	}
	return nil
}

func readProgram(folder string, p program) ([]byte, error) {
	binary, err := os.ReadFile(filepath.Join(folder, p.name))
	if err != nil {
		return nil, fmt.Errorf("read the program: %w; `make image` builds it", err)
	}
	return binary, nil
}

// release is what the images of one run have in common.
type release struct {
	repository, version, revision string
	created                       time.Time
}

// sourceDate reads SOURCE_DATE_EPOCH, see https://reproducible-builds.org/specs/source-date-epoch.
func sourceDate(text string) (time.Time, error) {
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read SOURCE_DATE_EPOCH: %w; it is a number of seconds", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// writeArchives writes one archive for each architecture, and one for all.
func writeArchives(folder string, p program, r release) error {
	var all []platformImage
	for _, arch := range architectures {
		binary, err := readProgram(filepath.Join(folder, arch), p)
		if err != nil {
			return err
		}
		image, err := build(p, arch, binary, r)
		if err != nil {
			return err
		}
		all = append(all, platformImage{arch, image})
		path := filepath.Join(folder, p.name+"-"+arch+".tar")
		if err := writeArchive(path, r.reference(p), all[len(all)-1:]); err != nil {
			return err
		}
	}
	path := filepath.Join(folder, p.name+".tar")
	if err := writeArchive(path, r.reference(p), all); err != nil {
		return err
	}
	fmt.Printf("%s: %s, for %v\n", path, r.reference(p), architectures)
	return nil
}

// reference is the image's name in a Pod.
func (r release) reference(p program) string { return r.repository + "/" + p.name + ":" + r.version }
