// The loop that many programs start with, in the language it is most often written in: 1,024 bytes
// are read and written at a time, nothing is checked. One connection, then it ends.
//
//	article offer FILE ADDR   the connection gets the file's bytes
//	article take FILE ADDR    the connection's bytes become the file
//	article send FILE ADDR    the file's bytes, to a server
//	article fetch FILE ADDR   a server's bytes become the file
package main

import (
	"io"
	"log"
	"net"
	"os"
)

const bufferBytes = 1024

func pump(to io.Writer, from io.Reader) {
	buffer := make([]byte, bufferBytes)
	for {
		count, err := from.Read(buffer)
		if count > 0 {
			if _, err := to.Write(buffer[:count]); err != nil {
				log.Fatal(err)
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

func give(path string, conn net.Conn) {
	defer conn.Close()
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	pump(conn, file)
}

func keep(path string, conn net.Conn) {
	defer conn.Close()
	file, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	pump(file, conn)
}

func dial(address string) net.Conn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

func accept(address string) net.Conn {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("article offer|take|send|fetch FILE ADDR")
	}
	verb, path, address := os.Args[1], os.Args[2], os.Args[3]
	switch verb {
	case "offer":
		give(path, accept(address))
	case "take":
		keep(path, accept(address))
	case "send":
		give(path, dial(address))
	case "fetch":
		keep(path, dial(address))
	default:
		log.Fatal("no such verb: " + verb)
	}
}
