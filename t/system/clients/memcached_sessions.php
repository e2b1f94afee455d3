<?php
// PHP's session handler of memcached, with its lock, in the binary protocol (its default) and in text.
require __DIR__ . '/checks.php';

ini_set('session.save_handler', 'memcached');
ini_set('session.save_path', "127.0.0.1:$argv[2]");
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
ini_set('memcached.sess_lock_wait_min', '10');
ini_set('memcached.sess_lock_wait_max', '20');
ini_set('memcached.sess_lock_retries', '3');
ob_start();

$m = new Memcached();
$m->addServer($argv[1], 0);
foreach (['binary' => '1', 'text' => '0'] as $way => $binary) {
    if ($way === 'text') {
        ini_set('memcached.sess_binary_protocol', '0');
    }
    check("$way: the protocol", fn () => same($binary, (string) (int) ini_get('memcached.sess_binary_protocol')));
    check("$way: write, read, destroy", function () use ($m, $way) {
        session_id("one$way");
        same(true, session_start());
        same('1', (string) $m->get("memc.sess.key.lock.one$way"));
        $_SESSION['user'] = 'Ada';
        session_write_close();
        same(false, $m->get("memc.sess.key.lock.one$way"));
        session_id("one$way");
        session_start();
        same('Ada', $_SESSION['user']);
        session_destroy();
        same(false, $m->get("memc.sess.key.one$way"));
    });
    check("$way: another holds the lock", function () use ($m, $way) {
        $m->set("memc.sess.key.lock.two$way", '1', 5);
        session_id("two$way");
        try {
            $started = session_start();
        } catch (\ErrorException $e) {
            $started = false;
        }
        same(false, $started);
        same('1', $m->get("memc.sess.key.lock.two$way"));
    });
    session_abort();
}
ob_end_flush();
