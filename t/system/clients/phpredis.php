<?php
require __DIR__ . '/checks.php';

$r = new Redis();
$r->connect($argv[1]);
$r->flushDB();

check('get set delete', function () use ($r) {
    same(true, $r->set('k', "v\0\xff"));
    same("v\0\xff", $r->get('k'));
    same(false, $r->get('nope'));
    same(1, $r->exists('k'));
    same(1, $r->del('k'));
    same(1, (int) $r->setex('k', 10, 'v'));
    same(true, $r->ttl('k') > 8);
    same(1, $r->unlink('k'));
});
check('options of set', function () use ($r) {
    same(true, $r->set('o', '1', ['nx', 'ex' => 10]));
    same(false, $r->set('o', '2', ['nx', 'px' => 1000]));
    same(true, $r->set('o', '3', ['xx']));
    same('3', $r->getSet('o', '4'));
    same(true, $r->setnx('new', '1'));
});
check('many', function () use ($r) {
    same(true, $r->mset(['a' => '1', 'b' => '2']));
    same(['1', false, '2'], $r->mGet(['a', 'nope', 'b']));
    same([true, '1', 2], $r->multi(Redis::PIPELINE)->set('p', '1')->get('p')->incr('p')->exec());
});
check('counters', function () use ($r) {
    same(5, $r->incrBy('n', 5));
    same(4, $r->decr('n'));
    same(2, $r->append('n', '2'));
});
check('floats', fn () => same(1.5, $r->incrByFloat('f', 1.5)));
check('ranges', function () use ($r) {
    $r->set('text', 'Hello World');
    same('World', $r->getRange('text', 6, -1));
    same(11, $r->setRange('text', 6, 'Redis'));
    same('Hello Redis', $r->get('text'));
});
check('rename', function () use ($r) {
    $r->set('from', 'x');
    same(true, $r->rename('from', 'to'));
    same('x', $r->get('to'));
});
check('transactions', function () use ($r) {
    same([true, '1'], $r->multi()->set('t', '1')->get('t')->exec());
    $r->watch('t');
    $r->set('t', '2');
    same(false, $r->multi()->set('t', '3')->exec());
    same('2', $r->get('t'));
});
check('msetnx', fn () => same(0, (int) $r->msetnx(['t' => 'x', 'fresh' => 'x'])));
check('scan', function () use ($r) {
    $r->set('scan:1', 'x');
    $r->set('scan:2', 'x');
    $seen = [];
    $r->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    for ($cursor = null; ($keys = $r->scan($cursor, 'scan:*')) !== false;) {
        $seen = array_merge($seen, $keys);
    }
    sort($seen);
    same(['scan:1', 'scan:2'], $seen);
    $keys = $r->keys('scan:*');
    sort($keys);
    same($seen, $keys);
});
check('info', function () use ($r) {
    same('7.2.0', $r->info('server')['redis_version']);
    same(true, isset($r->info('memory')['maxmemory_policy']));
});
check('clear', function () use ($r) {
    same(true, $r->flushDB());
    same(0, $r->dbSize());
});
check('a keyspace', function () use ($argv) {
    $other = new Redis();
    $other->connect($argv[1]);
    same(true, $other->select(3));
    $other->set('only', 'here');
    $other->select(0);
    same(false, $other->get('only'));
});
